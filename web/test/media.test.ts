import { describe, expect, it } from "vitest";
import type { Format } from "../src/api/types";
import { formatLabel, formatsFor, isAudio } from "../src/media/choice";
import { linksIn, listOf, takeSharedLink } from "../src/media/link";
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
    ["schau »https://example.com/v« an", "https://example.com/v"],
    ["“https://example.com/v”", "https://example.com/v"],
    ["„https://example.com/v“", "https://example.com/v"],
    ["https://example.com/v… more", "https://example.com/v"],
    ["it’s ‘https://example.com/v’", "https://example.com/v"],
    ["*https://example.com/v*", "https://example.com/v"],
    ["https://b23.example/AbC看视频", "https://b23.example/AbC"],
    ["https://youtu.example/a-b_この動画", "https://youtu.example/a-b_"],
    ["https://site.example/watch?v=abc보세요", "https://site.example/watch?v=abc"],
    ["复制打开https://v.example/iRNBho6u/，看看", "https://v.example/iRNBho6u/"],
    ["https://zh.wiki.example/wiki/电影?q=电影", "https://zh.wiki.example/wiki/电影?q=电影"],
    ["https://例え.example/v", "https://例え.example/v"],
    ["https://archive.example/web/2020/https://example.com/v", "https://archive.example/web/2020/https://example.com/v"],
  ])("%j", (text, link) => expect(linksIn(text)).toEqual(link === null ? [] : [link]));

  it("drops none of several, and counts none twice", () => {
    const lines = "https://a.example/1\nhttps://b.example/2, https://a.example/1\t(https://c.example/3)\nand words";
    const links = ["https://a.example/1", "https://b.example/2", "https://c.example/3"];
    expect(linksIn(lines)).toEqual(links);
    expect(linksIn(links.join(" "))).toEqual(links);
    expect(listOf(links)).toMatchObject({ kind: "playlist", title: "3 links", entry_count: 3 });
    expect(listOf(links).entries.map((entry) => entry.url)).toEqual(links);
  });

  it.each(["https://a/".repeat(20_000), "a.".repeat(50_000), `https://a.example/${"a看".repeat(50_000)}`, `https://a/${")".repeat(100_000)}`])(
    "finds its way through %.12s… of any length",
    (text) => expect(linksIn(text).length).toBeLessThan(2),
  );

  it("takes a shared link from the address bar once", () => {
    const seen: string[] = [];
    const past = { replaceState: (_: unknown, __: string, url: string) => void seen.push(url) } as unknown as History;
    const place = (search: string) => ({ search, pathname: "/" }) as Location;
    expect(takeSharedLink(place("?title=Film&text=see+https%3A%2F%2Fexample.com%2Fv"), past)).toBe("https://example.com/v");
    expect(seen).toEqual(["/"]);
    const several = "?text=https%3A%2F%2Fa.example%2F1%0Ahttps%3A%2F%2Fb.example%2F2";
    expect(takeSharedLink(place(several), past)).toBe("https://a.example/1 https://b.example/2");
    seen.pop();
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
