import type { Phase, Progress, Task } from "../api/types";

/**
 * The downloads on screen, as a pure reduction of everything that was heard about them.
 *
 * Frames, polls and answers to a click race each other; `seq` (rising within a task, over attempts and workers) decides.
 * A frame that is older than what is shown changes nothing, so the bar never jumps back.
 */
export type Row = Progress & Partial<Omit<Task, keyof Progress>>;
export type Board = ReadonlyMap<string, Row>;

export const EMPTY_BOARD: Board = new Map();

const ENDED: ReadonlySet<Phase> = new Set(["completed", "failed", "cancelled"]);

export const hasEnded = (row: { phase: Phase }): boolean => ENDED.has(row.phase);
export const isSettled = (row: { phase: Phase }): boolean => hasEnded(row) || row.phase === "paused";

/** Takes over what is newer. A download that had ended before this page knew it belongs to the history and is not added. */
export function heard(board: Board, news: readonly Row[]): Board {
  let next: Map<string, Row> | null = null;
  for (const row of news) {
    const shown = (next ?? board).get(row.task_id);
    if (shown ? !isNewer(row, shown) : hasEnded(row)) continue;
    next ??= new Map(board);
    next.set(row.task_id, shown ? merged(shown, row) : row);
  }
  return next ?? board;
}

/** Adds a download that was just accepted; frames that came before the answer win. */
export function started(board: Board, row: Row): Board {
  const shown = board.get(row.task_id);
  return new Map(board).set(row.task_id, shown ? { ...row, ...shown, title: shown.title ?? row.title } : row);
}

/** A finished file's remarks are in its row on the server and in no frame: they come after the end that everybody has heard of. */
export function remarked(board: Board, task_id: string, remarks: readonly string[]): Board {
  const shown = board.get(task_id);
  return shown && remarks.length > 0 ? new Map(board).set(task_id, { ...shown, remarks: [...remarks] }) : board;
}

export function dismissed(board: Board, task_id: string): Board {
  const next = new Map(board);
  next.delete(task_id);
  return next;
}

/** Downloads that ended between two boards. */
export function ended(before: Board, after: Board): Row[] {
  return [...after.values()].filter((row) => {
    const old = before.get(row.task_id);
    return hasEnded(row) && old !== undefined && !hasEnded(old);
  });
}

/** Running ones first, then those that ended; the latest first within each. */
export function inOrder(board: Board): Row[] {
  const rows = [...board.values()].reverse();
  return [...rows.filter((row) => !hasEnded(row)), ...rows.filter(hasEnded)];
}

function isNewer(news: Row, shown: Row): boolean {
  if (news.seq !== shown.seq) return news.seq > shown.seq || settledLater(news, shown);
  return true;
}

/** The stored row outlives frames that were lost: what it says has stopped, has stopped. */
function settledLater(news: Row, shown: Row): boolean {
  return (
    isSettled(news) && !isSettled(shown) &&
    news.updated_at !== undefined && (shown.updated_at === undefined || news.updated_at > shown.updated_at)
  );
}

function merged(shown: Row, news: Row): Row {
  const { status: _stale, ...rest } = shown; // frames carry a phase only; a status is true as long as nothing newer came
  return {
    ...rest,
    ...news,
    title: news.title ?? shown.title,
    history_id: news.history_id ?? shown.history_id,
    seq: Math.max(news.seq, shown.seq),
  };
}
