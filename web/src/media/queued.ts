import type { Accepted, DownloadRequest } from "../api/types";
import type { Row } from "../live/board";

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
    error: null,
  };
}
