import type { HistoryEntry } from "../api/types";
import { secondsUntil, span } from "./measure";

/** What becomes of a file: the word beside a history line, and how urgent it is. */
export function expiryWords(
  entry: Pick<HistoryEntry, "status" | "mode" | "has_file" | "expire_at">,
  now: number,
): { words: string; kind: "calm" | "soon" | "gone" | "bad" } {
  if (entry.status === "failed") return { words: "failed", kind: "bad" };
  if (entry.status === "cancelled") return { words: "cancelled", kind: "gone" };
  if (entry.status !== "completed") return { words: entry.status === "paused" ? "paused" : "unfinished", kind: "calm" };
  if (!entry.has_file) return { words: "file removed", kind: "gone" };
  if (entry.expire_at === null) return { words: "kept until you delete it", kind: "calm" };
  const left = secondsUntil(entry.expire_at, now);
  if (left <= 0) return { words: "about to be removed", kind: "soon" };
  return { words: `removed in ${span(left)}`, kind: left < 7200 ? "soon" : "calm" };
}
