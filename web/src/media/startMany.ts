import * as api from "../api/calls";
import { asFailure, type Failure } from "../api/failure";
import type { Mode, PlaylistEntry } from "../api/types";
import type { Row } from "../live/board";
import { known, queuedRow } from "./queued";

export interface Outcome { rows: Row[]; left: PlaylistEntry[]; failure: Failure | null }

/** Starts entries in their order and stops at the first refusal: what was started stays, what is left can be tried again. */
export async function startMany(
  entries: readonly PlaylistEntry[],
  choice: { quality: string; format: string; mode: Mode; subtitles: boolean },
  keyOf: (entry: PlaylistEntry) => string,
): Promise<Outcome> {
  const rows: Row[] = [];
  for (const [index, entry] of entries.entries()) {
    const request = { url: entry.url, ...choice, ...known(entry) };
    try {
      rows.push(queuedRow(await api.download(request, keyOf(entry)), request));
    } catch (error) {
      return { rows, left: entries.slice(index), failure: asFailure(error) };
    }
  }
  return { rows, left: [], failure: null };
}
