import { describe, expect, it } from "vitest";
import type { Format } from "../src/api/types";
import { formatLabel, formatsFor, isAudio } from "../src/media/choice";
import { linkIn, takeSharedLink } from "../src/media/link";
import { known } from "../src/media/queued";

describe("the link in what people paste", () => {
  it.each([
    ["https://example.com/v?id=1", "https://example.com/v?id=1"],
    ["  https://example.com/v \n", "https://example.com/v"],
    ["Look: https://example.com/v. Nice!", "https://example.com/v"],
    ["(https://example.com/v)", "https://example.com/v"],
    ["https://en.example.org/wiki/Film_(1999)", "https://en.example.org/wiki/Film_(1999)"],
    ["【标题】 https://b23.example/AbC 来自App", "https://b23.example/AbC"],
    ["<https://example.com/v>", "https://example.com/v"],
    ["example.com/watch?v=1", "https://example.com/watch?v=1"],
    ["HTTP://EXAMPLE.com/v", "HTTP://EXAMPLE.com/v"],
    ["javascript:alert(1)", null],
    ["file:///etc/passwd", null],
    ["just words", null],
    ["", null],
  ])("%j", (text, link) => expect(linkIn(text)).toBe(link));

  it("takes a shared link from the address bar once", () => {
    const seen: string[] = [];
    const past = { replaceState: (_: unknown, __: string, url: string) => void seen.push(url) } as unknown as History;
    const place = (search: string) => ({ search, pathname: "/" }) as Location;
    expect(takeSharedLink(place("?title=Film&text=see+https%3A%2F%2Fexample.com%2Fv"), past)).toBe("https://example.com/v");
    expect(seen).toEqual(["/"]);
    expect(takeSharedLink(place(""), past)).toBeNull();
    expect(seen).toEqual(["/"]);
  });
});

describe("choices", () => {
  const format = (change: Partial<Format>): Format => ({
    id: "137", ext: "mp4", height: 1080, fps: 60, video_codec: "avc1.64", audio_codec: "none", size_bytes: 2 ** 20,
    size_is_estimate: true, bitrate_kbps: null, language: null, note: null, ...change,
  });
  const media = (formats: Format[]) => ({ formats }) as Parameters<typeof formatsFor>[1];

  it("offers sound files for sound and video files for video", () => {
    const sound = format({ id: "140", height: null, video_codec: "none", audio_codec: "mp4a.40" });
    expect(isAudio("audio", [])).toBe(true);
    expect(formatsFor("140", media([sound]))).toContain("mp3");
    expect(formatsFor("137", media([format({})]))).not.toContain("mp3");
    expect(formatsFor("best", media([]))[0]).toBe("mp4");
  });
  it("names an exact stream", () => expect(formatLabel(format({}))).toBe("1080p60 · avc1 · mp4 · about 1.0 MiB"));
  it("sends a title the API takes: one line, 500 characters, nothing cut in half", () => {
    expect(known({ title: "a\r\nb\u0000", duration_seconds: null })).toEqual({ title: "a b" });
    expect([...known({ title: "💣".repeat(600), duration_seconds: 3 }).title!]).toHaveLength(500);
    expect(known({ title: " ", duration_seconds: null })).toEqual({});
  });
});
