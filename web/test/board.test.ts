import { describe, expect, it } from "vitest";
import { EMPTY_BOARD, type Row, dismissed, ended, heard, inOrder, remarked, started } from "../src/live/board";
import { queuedRow } from "../src/media/queued";

const row = (change: Partial<Row> = {}): Row => ({
  task_id: "a", history_id: 1, title: "Film", phase: "downloading", percent: 10, downloaded_bytes: 10, total_bytes: 100,
  total_is_estimate: false, speed_bytes_per_second: 5, eta_seconds: 18, attempt: 1, waiting_for: null, is_live: false, seq: 1_000_001, error: null, ...change,
});
const board = (...rows: Row[]) => rows.reduce((known, one) => started(known, one), EMPTY_BOARD);

describe("what is heard about downloads", () => {
  it("shows a newer frame and ignores an older one", () => {
    const now = heard(board(row({ seq: 1_000_005, percent: 50 })), [row({ seq: 1_000_004, percent: 40 })]);
    expect(now.get("a")!.percent).toBe(50);
    expect(heard(now, [row({ seq: 1_000_006, percent: 60 })]).get("a")!.percent).toBe(60);
  });

  it("keeps the same board when nothing is new, so that nothing is drawn again", () => {
    const before = board(row({ seq: 9 }));
    expect(heard(before, [row({ seq: 8 })])).toBe(before);
  });

  it("ends in the same numbers however frames and polls interleave", () => {
    const frames = [1, 2, 3, 4, 5].map((n) => row({ seq: 1_000_000 + n, percent: n * 20 }));
    const reversed = heard(board(row({ seq: 0 })), [...frames].reverse());
    const inTurn = frames.reduce((known, frame) => heard(known, [frame]), board(row({ seq: 0 })));
    expect(reversed.get("a")).toEqual(inTurn.get("a"));
  });

  it("takes a later attempt although its percentage is lower", () => {
    const again = heard(board(row({ seq: 1_000_900, percent: 90 })), [row({ seq: 2_000_001, percent: 0, attempt: 2 })]);
    expect(again.get("a")).toMatchObject({ percent: 0, attempt: 2 });
  });

  it("does not add downloads that ended before the page knew them", () => {
    expect(heard(EMPTY_BOARD, [row({ phase: "completed" }), row({ task_id: "b" })]).size).toBe(1);
  });

  it("keeps address and mode when a frame brings numbers only", () => {
    const known = board(row({ seq: 1, url: "https://example.com/v", mode: "archive_download", status: "retry" }));
    const now = heard(known, [row({ seq: 2, title: null })]).get("a")!;
    expect(now).toMatchObject({ url: "https://example.com/v", mode: "archive_download", title: "Film" });
    expect(now.status).toBeUndefined(); // "will try again" is over once numbers come
  });

  it("believes the stored row that a download has stopped, although the last frame was lost", () => {
    const known = board(row({ seq: 1_000_050, updated_at: "2026-01-01T00:00:00Z" }));
    const now = heard(known, [row({ seq: 1_000_000, phase: "completed", updated_at: "2026-01-01T00:00:09Z" })]);
    expect(now.get("a")!.phase).toBe("completed");
  });

  it("lets a frame that overtook the answer to the click win over it", () => {
    const early = heard(EMPTY_BOARD, [row({ seq: 1_000_003, percent: 30, title: null })]);
    const request = { url: "https://example.com/v", mode: "quick_download", quality: "best", format: "mp4", subtitles: true, title: "Film" } as const;
    const now = started(early, queuedRow({ task_id: "a", history_id: 1, status: "queued" }, request)).get("a")!;
    expect(now).toMatchObject({ percent: 30, phase: "downloading", title: "Film", url: "https://example.com/v" });
  });

  it("adds remarks to a file that is known to be finished, whatever came last", () => {
    const done = board(row({ seq: 5, phase: "completed", remarks: [] }));
    const now = remarked(done, "a", ["the cover was left out: it is no picture"]);
    expect(now.get("a")).toMatchObject({ seq: 5, phase: "completed", remarks: ["the cover was left out: it is no picture"] });
    expect(remarked(done, "a", [])).toBe(done);
    expect(remarked(done, "gone", ["x"])).toBe(done);
  });

  it("names each ended download once", () => {
    const before = board(row({ seq: 1 }), row({ task_id: "b", seq: 1 }));
    const after = heard(before, [row({ seq: 2, phase: "failed" })]);
    expect(ended(before, after).map((one) => one.task_id)).toEqual(["a"]);
    expect(ended(after, heard(after, [row({ seq: 3, phase: "failed" })]))).toEqual([]);
  });

  it("lists running ones before ended ones, and forgets what is dismissed", () => {
    const all = heard(board(row({ seq: 1 }), row({ task_id: "b", seq: 1 })), [row({ task_id: "b", seq: 2, phase: "completed" })]);
    expect(inOrder(all).map((one) => one.task_id)).toEqual(["a", "b"]);
    expect(inOrder(dismissed(all, "a")).map((one) => one.task_id)).toEqual(["b"]);
  });
});
