import { useState } from "react";
import * as api from "../api/calls";
import { asFailure, type Failure } from "../api/failure";
import { hasEnded, type Row } from "../live/board";
import type { Feed } from "../live/feed";
import { phaseWords, progressLine, waitingWords } from "../words/phases";
import { sentence } from "../words/sentence";
import { ErrorNotice } from "./ErrorNotice";
import { SaveButton } from "./SaveButton";

/** One download: its bar, and what can be done with it at this stage. */
export function DownloadRow({ row, feed, onChanged }: { row: Row; feed: Feed; onChanged: () => void }) {
  const [busy, setBusy] = useState(false);
  const [failure, setFailure] = useState<Failure | null>(null);
  const title = row.title ?? row.url ?? "Download";
  const line = progressLine(row);

  const act = async (verb: api.Verb) => {
    setBusy(true);
    setFailure(null);
    try {
      feed.hear([await api.act(row.task_id, verb)]);
      onChanged();
    } catch (error) {
      setFailure(asFailure(error));
    } finally {
      setBusy(false);
    }
  };
  const button = (verb: api.Verb, words: string) => (
    <button type="button" className="small" disabled={busy} onClick={() => void act(verb)} aria-label={`${words}: ${title}`}>{words}</button>
  );

  return (
    <li className={`card download is-${row.phase}`}>
      <h3 title={row.url}>{title}</h3>
      {!hasEnded(row) && <Bar row={row} title={title} />}
      <p className="download-line">
        <span className="phase">{waitingWords(row) ?? phaseWords(row.phase, row.status, row.is_live, row.error?.retry_at)}</span>
        {row.phase === "queued" && row.error && <span className="waiting">{row.error.message}</span>}
        {row.attempt > 1 && !hasEnded(row) && <span>attempt {row.attempt}</span>}
        {line && row.phase !== "completed" && <span className="figures">{line}</span>}
        {row.phase === "completed" && row.remarks?.map((remark) => <span key={remark} className="remark">{sentence(remark)}</span>)}
      </p>
      <div className="row">
        {row.phase === "paused" && button("resume", "Resume")}
        {row.is_live && row.phase === "downloading" && button("finish", "Stop and keep")}
        {!hasEnded(row) && row.phase !== "paused" && button("pause", "Pause")}
        {!hasEnded(row) && button("cancel", "Cancel")}
        {(row.phase === "failed" || row.phase === "cancelled") && button("retry", "Retry")}
        {row.phase === "completed" && row.history_id !== null && (
          <SaveButton historyId={row.history_id} title={title} onFailure={setFailure} />
        )}
        {hasEnded(row) && (
          <button type="button" className="small quiet" aria-label={`Dismiss: ${title}`} onClick={() => feed.dismiss(row.task_id)}>Dismiss</button>
        )}
      </div>
      <div className="errors">
        {row.error && row.phase === "failed" && <ErrorNotice key={row.seq} failure={row.error} about={about(row)} />}
        {failure && <ErrorNotice failure={failure} about={about(row)} onClose={() => setFailure(null)} />}
      </div>
    </li>
  );
}

/** Without a value the bar runs to and fro: something happens, nobody knows how much is left. */
function Bar({ row, title }: { row: Row; title: string }) {
  const known = row.percent !== null || row.phase === "queued" || row.phase === "paused";
  return (
    <progress
      aria-label={`Progress of ${title}`}
      max={100}
      {...(known ? { value: row.percent ?? 0 } : {})}
    />
  );
}

const about = (row: Row) => ({ task_id: row.task_id, ...(row.url ? { url: row.url } : {}) });
