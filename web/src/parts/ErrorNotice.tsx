import { useState } from "react";
import { errorWords, details } from "../words/errors";

interface Shown {
  reason: string;
  message: string;
  kind?: string | null;
  action?: string | null;
  code?: number;
  httpStatus?: number;
  requestId?: string | null;
  retryAfterSeconds?: number | null;
}

/** A failure in words: what happened, what to do next, and the particulars for whoever is asked for help. */
export function ErrorNotice({ failure, about = {}, onRetry, onClose }: {
  failure: Shown;
  about?: { task_id?: string; url?: string };
  onRetry?: () => void;
  onClose?: () => void;
}) {
  const words = errorWords(failure);
  const [copied, setCopied] = useState(false);
  const [text] = useState(() => details(failure, about, new Date()));
  const copy = () => navigator.clipboard.writeText(text).then(() => setCopied(true), () => setCopied(false));
  return (
    <div className="error" role="alert">
      <p className="error-title">{words.title}</p>
      {words.showMessage && failure.message && <p className="error-message">{failure.message}</p>}
      <p>{words.next}</p>
      <div className="row">
        {onRetry && <button type="button" className="small" onClick={onRetry}>Try again</button>}
        {onClose && <button type="button" className="small quiet" onClick={onClose}>Dismiss</button>}
      </div>
      <details>
        <summary>Details</summary>
        <pre tabIndex={0} aria-label="Error details">{text}</pre>
        {"clipboard" in navigator && (
          <button type="button" className="small quiet" onClick={copy}>{copied ? "Copied" : "Copy details"}</button>
        )}
      </details>
    </div>
  );
}
