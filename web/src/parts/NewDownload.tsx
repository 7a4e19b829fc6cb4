import { type FormEvent, useCallback, useEffect, useRef, useState } from "react";
import * as api from "../api/calls";
import { asFailure, Failure } from "../api/failure";
import type { MediaInfo } from "../api/types";
import type { Row } from "../live/board";
import { linksIn, listOf } from "../media/link";
import { ErrorNotice } from "./ErrorNotice";
import { MediaCard } from "./MediaCard";
import { PlaylistCard } from "./PlaylistCard";

/** The field for a link, and what was found behind it. */
export function NewDownload({ sharedLink, onStarted }: { sharedLink: string | null; onStarted: (rows: Row[]) => void }) {
  const [text, setText] = useState(sharedLink ?? "");
  const [media, setMedia] = useState<MediaInfo | null>(null);
  const [failure, setFailure] = useState<Failure | null>(null);
  const [busy, setBusy] = useState(false);
  const asked = useRef<AbortController | null>(null);
  const field = useRef<HTMLInputElement>(null);
  const found = useRef<HTMLHeadingElement>(null);

  const look = useCallback(async (words: string) => {
    asked.current?.abort();
    const links = linksIn(words);
    const [link] = links;
    setMedia(null);
    setFailure(null);
    if (!link) {
      setFailure(new Failure({ reason: "invalid_url", message: "" }));
      field.current?.focus();
      return;
    }
    setText(links.join(" "));
    if (links.length > 1) {
      setBusy(false);
      setMedia(listOf(links)); // none is dropped, and none is read before it is wanted
      return;
    }
    setBusy(true);
    const mine = new AbortController();
    asked.current = mine;
    try {
      const info = await api.parse(link, undefined, mine.signal);
      if (asked.current === mine) setMedia(info);
    } catch (error) {
      if (asked.current === mine && asFailure(error).reason !== "aborted") setFailure(asFailure(error));
    } finally {
      if (asked.current === mine) setBusy(false);
    }
  }, []);

  useEffect(() => {
    if (sharedLink) void look(sharedLink);
    return () => asked.current?.abort();
  }, [sharedLink, look]);

  useEffect(() => {
    if (media) found.current?.focus();
  }, [media]);

  const paste = async () => {
    try {
      const words = await navigator.clipboard.readText();
      setText(words);
      await look(words);
    } catch {
      setFailure(new Failure({ reason: "clipboard", message: "" }));
      field.current?.focus();
    }
  };

  const close = () => {
    setMedia(null);
    setText("");
    field.current?.focus();
  };

  return (
    <section aria-labelledby="new-title">
      <h1 id="new-title" className="for-ears">New download</h1>
      <form className="ask" role="search" onSubmit={(event: FormEvent) => (event.preventDefault(), void look(text))}>
        <label htmlFor="link">Link to a video or playlist</label>
        <div className="ask-line">
          <input
            id="link"
            ref={field}
            value={text}
            onChange={(event) => setText(event.target.value)}
            onPaste={(event) => {
              const links = linksIn(event.clipboardData.getData("text"));
              if (links.length < 2) return;
              event.preventDefault(); // the field would join the lines, and cut what is longer than one link may be
              setText(links.join(" "));
            }}
            placeholder="https://…"
            inputMode="url"
            autoComplete="off"
            autoCapitalize="off"
            spellCheck={false}
            enterKeyHint="go"
            maxLength={8192}
            aria-invalid={failure?.reason === "invalid_url" || undefined}
          />
          {"clipboard" in navigator && "readText" in navigator.clipboard && (
            <button type="button" onClick={paste}>Paste</button>
          )}
          <button type="submit" className="primary" disabled={busy}>{busy ? "Looking…" : "Find"}</button>
        </div>
      </form>
      <div aria-live="polite">
        {busy && (
          <div className="card finding">
            <p>Reading the page…</p>
            <progress aria-label="Reading the page" />
            <button type="button" className="small quiet" onClick={() => (asked.current?.abort(), setBusy(false))}>Stop</button>
          </div>
        )}
      </div>
      {failure && (
        <ErrorNotice
          failure={failure}
          about={{ url: text }}
          onClose={() => (setFailure(null), field.current?.focus())}
          {...(failure.retryable ? { onRetry: () => void look(text) } : {})}
        />
      )}
      {media?.kind === "single" && <MediaCard key={media.url} media={media} heading={found} onStarted={onStarted} onClose={close} />}
      {media?.kind === "playlist" && <PlaylistCard key={media.url} media={media} heading={found} onStarted={onStarted} onClose={close} />}
    </section>
  );
}
