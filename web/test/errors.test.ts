import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { details, errorWords, knownReasons } from "../src/words/errors";
import { phaseWords } from "../src/words/phases";

describe("errors in words", () => {
  it("has words for every reason the domain can give", () => {
    const source = readFileSync(new URL("../../vasset/domain/errors.py", import.meta.url), "utf8");
    const reasons = [...source.matchAll(/^ {4}reason(?:: ClassVar\[str\])? = "(\w+)"/gm)].map((match) => match[1]!);
    expect(reasons.length).toBeGreaterThan(35);
    expect(reasons.filter((reason) => !knownReasons().includes(reason))).toEqual([]);
  });

  it("says what to do next, always", () => {
    for (const reason of [...knownReasons(), "never heard of", "constructor"]) {
      const words = errorWords({ reason });
      expect(words.title).toMatch(/\w/);
      expect(words.next).toMatch(/[.]$/);
    }
  });

  it("names the wait the server asked for", () => {
    expect(errorWords({ reason: "overloaded", retryAfterSeconds: 7 }).next).toBe("Try again in 7 s.");
    expect(errorWords({ reason: "quota_exceeded", retryAfterSeconds: 7 }).next).toMatch(/midnight/);
  });

  it("takes title and next step from the kind, as the server words it", () => {
    const drm = { reason: "extraction_failed", kind: "drm", message: "The video is protected by DRM and cannot be downloaded.", action: "Nothing can be done about it." };
    expect(errorWords(drm)).toEqual({ title: "The video is protected by DRM and cannot be downloaded", next: "Nothing can be done about it.", showMessage: false });
    const limited = { ...drm, kind: "rate_limited", message: "The site says that too many requests came from here; try again later.", action: "Wait." };
    expect(errorWords(limited)).toMatchObject({ title: "The site says that too many requests came from here", next: "Wait." });
  });

  it("has words of its own where the kind says no more than the reason", () => {
    const full = { reason: "disk_full", kind: "disk_full", message: "No space left.", action: "Delete something." };
    expect(errorWords(full).title).toBe("The server's disk is full");
    expect(errorWords({ ...full, reason: "extraction_failed", kind: "other" }).next).toMatch(/private window/);
  });

  it("makes no headline of the engine's own words and says nothing twice", () => {
    const gone = { reason: "transfer_failed", kind: "removed", message: "GET https://a.example/v.mp4 answered 404", action: "Check in a browser." };
    expect(errorWords(gone)).toEqual({ title: "The video could not be fetched", next: "Check in a browser.", showMessage: true });
    const unread = { reason: "extraction_failed", kind: "other", message: "The site's page could not be read.", action: "Try again." };
    expect(errorWords(unread).showMessage).toBe(false);
    expect(errorWords({ ...unread, message: "The page moved away." }).showMessage).toBe(true);
  });

  it("says at what time it is tried again", () => {
    const now = Date.parse("2026-03-04T12:00:00Z");
    expect(phaseWords("queued", "retry", false, "2026-03-04T12:05:00Z", now)).toMatch(/^Will try again at /);
    expect(phaseWords("queued", undefined, false, "2026-03-04T12:00:02Z", now)).toBe("Will try again in a moment");
    expect(phaseWords("queued", "queued")).toBe("Waiting for its turn");
  });

  it("copies particulars without the query of a link", () => {
    const text = details(
      { reason: "transfer_failed", message: "cut", requestId: "r1" },
      { task_id: "t1", url: "https://example.com/watch?v=1&token=secret#x" },
      new Date("2026-03-03T12:00:00Z"),
    );
    expect(text).toContain("link: https://example.com/watch\n".trim());
    expect(text).not.toContain("secret");
    expect(text).toContain("task: t1");
  });
});
