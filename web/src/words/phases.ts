import type { Phase, Status } from "../api/types";
import { percent, rate, size, span } from "./measure";

const PHASES: Record<Phase, string> = {
  queued: "Waiting for its turn",
  parsing: "Reading the page",
  downloading: "Downloading",
  merging: "Joining picture and sound",
  postprocessing: "Converting",
  finalizing: "Checking and storing",
  completed: "Ready to save",
  failed: "Failed",
  cancelled: "Cancelled",
  paused: "Paused",
};

const SOON_MS = 60_000;

/** What is being waited for, as a sentence begins; nothing when it goes on. */
export function waitingWords(row: { phase: Phase; waiting_for: { message: string } | null }): string | null {
  if (!row.waiting_for || row.phase === "paused" || row.phase === "completed" || row.phase === "failed" || row.phase === "cancelled") return null;
  return `Waiting: ${row.waiting_for.message}`;
}

export function phaseWords(phase: Phase, status?: Status, isLive = false, retryAt: string | null = null, now = Date.now()): string {
  if (isLive && phase === "downloading") return "Recording live";
  if (phase === "queued" && retryAt !== null && Date.parse(retryAt) - now > SOON_MS)
    return `Will try again at ${new Date(retryAt).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" })}`;
  return status === "retry" || (phase === "queued" && retryAt !== null) ? "Will try again in a moment" : PHASES[phase];
}

/** The line under a bar: only what is known, nothing that is zero for want of knowledge. */
export function progressLine(row: {
  phase: Phase;
  percent: number | null;
  downloaded_bytes: number;
  total_bytes: number | null;
  total_is_estimate: boolean;
  speed_bytes_per_second: number | null;
  eta_seconds: number | null;
}): string {
  const parts: string[] = [];
  if (row.percent !== null) parts.push(percent(row.percent));
  if (row.downloaded_bytes > 0 && row.phase !== "completed")
    parts.push(
      row.total_bytes
        ? `${size(row.downloaded_bytes)} of ${row.total_is_estimate ? "about " : ""}${size(row.total_bytes)}`
        : size(row.downloaded_bytes),
    );
  if (row.phase === "downloading") {
    if (row.speed_bytes_per_second) parts.push(rate(row.speed_bytes_per_second));
    if (row.eta_seconds !== null && row.speed_bytes_per_second) parts.push(`${span(row.eta_seconds)} left`);
  }
  return parts.join(" · ");
}
