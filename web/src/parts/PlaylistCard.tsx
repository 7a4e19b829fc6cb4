import { type FormEvent, type Ref, useRef, useState } from "react";
import * as api from "../api/calls";
import { asFailure, type Failure } from "../api/failure";
import { freshKey } from "../api/key";
import type { MediaInfo, PlaylistEntry } from "../api/types";
import type { Row } from "../live/board";
import { PLAYLIST_QUALITIES, formatsFor } from "../media/choice";
import { startMany } from "../media/startMany";
import { clock } from "../words/measure";
import { type Choice, Choices } from "./Choices";
import { ErrorNotice } from "./ErrorNotice";

/** A playlist: tick the entries, choose once, start them together. Longer lists come page by page. */
export function PlaylistCard({ media, heading, onStarted, onClose }: {
  media: MediaInfo;
  heading: Ref<HTMLHeadingElement>;
  onStarted: (rows: Row[]) => void;
  onClose: () => void;
}) {
  const [entries, setEntries] = useState<PlaylistEntry[]>(() => unlike(media.entries, []));
  const [page, setPage] = useState(1);
  const [more, setMore] = useState(media.entry_count !== null && media.entry_count > media.entries.length);
  const [picked, setPicked] = useState<ReadonlySet<string>>(() => new Set(media.entries.map((entry) => entry.url)));
  const [choice, setChoice] = useState<Choice>({ quality: "best", format: "mp4", mode: "quick_download", subtitles: true });
  const [busy, setBusy] = useState<"loading" | "starting" | null>(null);
  const [failure, setFailure] = useState<Failure | null>(null);

  const change = (next: Choice) => {
    const fitting = formatsFor(next.quality, media);
    setChoice(fitting.includes(next.format) ? next : { ...next, format: fitting[0]! });
  };
  const pick = (url: string, on: boolean) => {
    const next = new Set(picked);
    if (on) next.add(url);
    else next.delete(url);
    setPicked(next);
  };
  const keys = useRef(new Map<string, string>()); // a repeat after a lost answer must not start a video twice
  const keyOf = (entry: PlaylistEntry): string => {
    const intent = [entry.url, choice.quality, choice.format, choice.mode, choice.subtitles].join(" ");
    const key = keys.current.get(intent) ?? freshKey();
    keys.current.set(intent, key);
    return key;
  };
  const chosen = entries.filter((entry) => picked.has(entry.url));

  const loadMore = async () => {
    setBusy("loading");
    try {
      const next = await api.parse(media.url, page + 1);
      const fresh = unlike(next.entries, entries);
      const all = [...entries, ...fresh];
      setEntries(all);
      setPage(page + 1);
      setMore(fresh.length > 0 && (media.entry_count === null || all.length < media.entry_count));
    } catch (error) {
      setFailure(asFailure(error));
    } finally {
      setBusy(null);
    }
  };

  const start = async (event: FormEvent) => {
    event.preventDefault();
    setBusy("starting");
    setFailure(null);
    const outcome = await startMany(chosen, choice, keyOf);
    setBusy(null);
    if (outcome.rows.length > 0) onStarted(outcome.rows);
    if (!outcome.failure) return onClose();
    setFailure(outcome.failure);
    setPicked(new Set(outcome.left.map((entry) => entry.url)));
  };

  return (
    <form className="card stack" onSubmit={start} aria-labelledby="media-title">
      <div>
        <h2 id="media-title" ref={heading} tabIndex={-1}>{media.title}</h2>
        <p className="muted">
          {[media.uploader, media.site, `${media.entry_count ?? entries.length} videos`].filter(Boolean).join(" · ")}
        </p>
      </div>
      <div className="row">
        <button type="button" className="small" onClick={() => setPicked(new Set(entries.map((entry) => entry.url)))}>Pick all</button>
        <button type="button" className="small" onClick={() => setPicked(new Set())}>Pick none</button>
        <span className="muted" role="status">{chosen.length} picked</span>
      </div>
      <ul className="entries">
        {entries.map((entry, index) => (
          <li key={entry.url}>
            <label>
              <input type="checkbox" checked={picked.has(entry.url)} onChange={(event) => pick(entry.url, event.target.checked)} />
              <span className="entry-title">{entry.title ?? (media.site ? `Video ${index + 1}` : entry.url)}</span>
              {entry.duration_seconds !== null && <span className="muted">{clock(entry.duration_seconds)}</span>}
            </label>
          </li>
        ))}
      </ul>
      {more && (
        <button type="button" className="small" disabled={busy !== null} onClick={loadMore}>
          {busy === "loading" ? "Loading…" : "Show more"}
        </button>
      )}
      <Choices choice={choice} qualities={PLAYLIST_QUALITIES} formats={[]} containers={formatsFor(choice.quality, media)} onChange={change} />
      {failure && <ErrorNotice failure={failure} about={{ url: media.url }} />}
      <div className="row">
        <button type="submit" className="primary" disabled={busy !== null || chosen.length === 0}>
          {busy === "starting" ? "Starting…" : `Download ${chosen.length}`}
        </button>
        <button type="button" className="quiet" onClick={onClose}>Close</button>
      </div>
    </form>
  );
}

/** Entries whose address was not listed before: a playlist may name a video twice. */
function unlike(entries: readonly PlaylistEntry[], known: readonly PlaylistEntry[]): PlaylistEntry[] {
  const seen = new Set(known.map((entry) => entry.url));
  return entries.filter((entry) => !seen.has(entry.url) && seen.add(entry.url));
}
