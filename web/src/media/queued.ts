import type { Accepted, DownloadRequest } from "../api/types";
import type { Row } from "../live/board";

const MAX_TITLE = 500; // the API's bound, in characters

/** What the page knows about a video already, in the form the API takes: one line of text, a finite length. */
export function known(media: { title: string | null; duration_seconds: number | null }): Pick<DownloadRequest, "title" | "duration_seconds"> {
  const title = [...(media.title ?? "").replace(/[\u0000-\u001f\u007f]+/g, " ").trim()].slice(0, MAX_TITLE).join("");
  return {
    ...(title ? { title } : {}),
    ...(media.duration_seconds !== null ? { duration_seconds: media.duration_seconds } : {}),
  };
}

/** What an accepted download looks like before anything was heard of it. `seq` 0 gives way to every frame. */
export function queuedRow(accepted: Accepted, request: DownloadRequest): Row {
  return {
    task_id: accepted.task_id,
    history_id: accepted.history_id,
    status: accepted.status,
    url: request.url,
    mode: request.mode,
    quality: request.quality,
    format: request.format,
    title: request.title ?? null,
    phase: "queued",
    percent: null,
    downloaded_bytes: 0,
    total_bytes: null,
    total_is_estimate: false,
    speed_bytes_per_second: null,
    eta_seconds: null,
    attempt: 1,
    seq: 0,
    waiting_for: null,
    is_live: false,
    error: null,
  };
}
