import { sentence } from "../src/words/sentence";
import { describe, expect, it } from "vitest";
import { backoffMs } from "../src/live/backoff";
import { browserName } from "../src/words/browser";
import { expiryWords } from "../src/words/expiry";
import { ago, clock, percent, size, span } from "../src/words/measure";
import { phaseWords, progressLine, waitingWords } from "../src/words/phases";

const NOW = Date.parse("2026-03-03T12:00:00Z");

describe("figures", () => {
  it.each([[0, "0 bytes"], [999, "999 bytes"], [1000, "1.0 KiB"], [1536, "1.5 KiB"], [20 * 2 ** 20, "20.0 MiB"],
    [150 * 2 ** 20, "150 MiB"], [1023.99 * 2 ** 20, "1.0 GiB"], [2 ** 42, "4.0 TiB"], [2 ** 60, "1048576 TiB"]])("%d bytes are %s", (bytes, words) => {
    expect(size(bytes)).toBe(words);
  });
  it.each([[0, "0:00"], [59.6, "1:00"], [65, "1:05"], [3600, "1:00:00"], [36_061, "10:01:01"]])("%d s of video are %s", (seconds, words) => {
    expect(clock(seconds)).toBe(words);
  });
  it.each([[0, "0 s"], [0.2, "1 s"], [59, "59 s"], [60, "1 min"], [3599, "1 h"], [5400, "1 h 30 min"], [86_400, "24 h"], [260_000, "3 days"]])("%d s of waiting are %s", (seconds, words) => {
    expect(span(seconds)).toBe(words);
  });
  it("says 100 % only when it is over", () => expect(percent(99.99)).toBe("99 %"));
  it("says how long ago", () => {
    expect(ago("2026-03-03T11:59:50Z", NOW)).toBe("just now");
    expect(ago("2026-03-03T11:30:00Z", NOW)).toBe("30 min ago");
    expect(ago("2026-03-03T02:00:00Z", NOW)).toBe("10 h ago");
  });
});

describe("the line under a bar", () => {
  const quiet = { percent: null, downloaded_bytes: 0, total_bytes: null, total_is_estimate: false, speed_bytes_per_second: null, eta_seconds: null };
  it("says nothing that is not known", () => expect(progressLine({ ...quiet, phase: "queued" })).toBe(""));
  it("says all that is", () =>
    expect(progressLine({ phase: "downloading", percent: 41.7, downloaded_bytes: 2 ** 20, total_bytes: 2 ** 22, total_is_estimate: true, speed_bytes_per_second: 2 ** 19, eta_seconds: 6 }))
      .toBe("41 % · 1.0 MiB of about 4.0 MiB · 512 KiB/s · 6 s left"));
  it("shows no speed while it converts", () =>
    expect(progressLine({ ...quiet, phase: "postprocessing", percent: 99, speed_bytes_per_second: 10 })).toBe("99 %"));
  it("announces a retry as such", () => expect(phaseWords("queued", "retry")).toBe("Will try again in a moment"));
  it("says what a download waits for as long as it waits", () => {
    const waiting_for = { message: "the disk is 97 % full" };
    expect(waitingWords({ phase: "queued", waiting_for })).toBe("Waiting: the disk is 97 % full");
    expect(waitingWords({ phase: "paused", waiting_for })).toBeNull();
    expect(waitingWords({ phase: "queued", waiting_for: null })).toBeNull();
  });
});

describe("what becomes of a file", () => {
  const file = { status: "completed", mode: "quick_download", has_file: true, expire_at: "2026-03-04T11:00:00Z" } as const;
  it.each([
    [file, "removed in 23 h", "calm"],
    [{ ...file, expire_at: "2026-03-03T12:20:00Z" }, "removed in 20 min", "soon"],
    [{ ...file, expire_at: "2026-03-03T11:59:00Z" }, "about to be removed", "soon"],
    [{ ...file, expire_at: null }, "kept until you delete it", "calm"],
    [{ ...file, has_file: false }, "file removed", "gone"],
    [{ ...file, status: "failed" as const }, "failed", "bad"],
  ])("%j", (entry, words, kind) => expect(expiryWords(entry, NOW)).toEqual({ words, kind }));
});

describe("connecting again", () => {
  it("waits longer each time, half a minute at most, and never without chance", () => {
    const waits = Array.from({ length: 12 }, (_, attempt) => backoffMs(attempt, 1));
    expect(waits).toEqual([...waits].sort((a, b) => a - b));
    expect(waits[0]).toBe(500);
    expect(waits.at(-1)).toBe(30_000);
    expect(backoffMs(0, 0)).toBe(250);
  });
});

describe("devices", () => {
  it.each([
    ["Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0", "Firefox on Linux"],
    ["Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605 Version/17.0 Mobile Safari/604", "Safari on iPhone"],
    ["Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 Chrome/120.0 Safari/537.36 Edg/120.0", "Edge on Windows"],
    ["curl/8.5.0", "curl"],
    [null, "Unknown device"],
  ])("%s", (agent, words) => expect(browserName(agent)).toBe(words));
});

describe("what the server says in half a line", () => {
  it("begins large and ends with a stop", () => {
    expect(sentence("the cover was left out: it is no picture")).toBe("The cover was left out: it is no picture.");
    expect(sentence("Done.")).toBe("Done.");
  });
});
