import { useState } from "react";
import * as api from "../api/calls";
import { asFailure, type Failure } from "../api/failure";
import type { HistoryEntry, Task } from "../api/types";
import { expiryWords } from "../words/expiry";
import { ago, size } from "../words/measure";
import { ErrorNotice } from "./ErrorNotice";
import { SaveButton } from "./SaveButton";

export function HistoryRow({ entry, now, onChanged, onTask }: {
  entry: HistoryEntry;
  now: number;
  onChanged: () => void;
  onTask: (task: Task) => void;
}) {
  const [asking, setAsking] = useState(false);
  const [busy, setBusy] = useState(false);
  const [failure, setFailure] = useState<Failure | null>(null);
  const title = entry.title ?? entry.file_name ?? entry.url;
  const expiry = expiryWords(entry, now);
  const canSave = entry.has_file && entry.status === "completed";

  const run = async (work: () => Promise<unknown>) => {
    setBusy(true);
    setFailure(null);
    try {
      await work();
      onChanged();
    } catch (error) {
      setFailure(asFailure(error));
    } finally {
      setBusy(false);
      setAsking(false);
    }
  };

  return (
    <li className="card entry">
      <div className="entry-words">
        <h3>{title}</h3>
        <p className="muted">
          {[
            entry.file_name?.split(".").pop()?.toUpperCase(),
            entry.file_size !== null ? size(entry.file_size) : null,
            ago(entry.completed_at ?? entry.created_at, now),
          ].filter(Boolean).join(" · ")}
          {" "}
          <span className={`tag ${expiry.kind}`}>{expiry.words}</span>
        </p>
      </div>
      <div className="row">
        {asking ? (
          <>
            <span role="alert">Delete{canSave ? " the file" : ""}?</span>
            <button type="button" className="small danger" disabled={busy} autoFocus onClick={() => void run(() => api.deleteHistory(entry.id))}>Yes, delete</button>
            <button type="button" className="small" onClick={() => setAsking(false)}>No</button>
          </>
        ) : (
          <>
            {canSave && <SaveButton historyId={entry.id} title={title} onFailure={setFailure} />}
            {canSave && entry.mode === "quick_download" && (
              <button type="button" className="small" disabled={busy} aria-label={`Keep ${title}`} title="Move it to the archive: it stays until you delete it"
                onClick={() => void run(() => api.act(entry.task_id, "keep"))}>Keep</button>
            )}
            {(entry.status === "failed" || entry.status === "cancelled") && (
              <button type="button" className="small" disabled={busy} aria-label={`Retry ${title}`}
                onClick={() => void run(async () => onTask(await api.act(entry.task_id, "retry")))}>Retry</button>
            )}
            <button type="button" className="small quiet" aria-label={`Delete ${title}`} onClick={() => setAsking(true)}>Delete</button>
          </>
        )}
      </div>
      {failure && <ErrorNotice failure={failure} about={{ task_id: entry.task_id, url: entry.url }} onClose={() => setFailure(null)} />}
    </li>
  );
}
