import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { details, errorWords, knownReasons } from "../src/words/errors";

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
