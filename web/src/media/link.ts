import type { MediaInfo } from "../api/types";

const LINK = /https?:\/\/[^\s<>"`»«“”„‹›…\u3000-\u303f\uff00-\uffef]+/gi;
const MOST = 200;
const LONGEST = 8192; // what the API takes; a longer one keeps a letter more, so that it is refused and not cut into another

/**
 * The web links in a piece of text, each once, in their order.
 *
 * People paste more than a link: phones share "Title https://… via App", chats wrap it in brackets or end the sentence
 * after it, and lists come as lines. A bare `site.tld/path` counts too. Whether an address is allowed is the server's to say.
 */
export function linksIn(text: string): string[] {
  const found = [...text.matchAll(LINK)].map((match) => trimmed(unglued(match[0].slice(0, LONGEST + 1))));
  if (found.length > 0) return [...new Set(found)].slice(0, MOST);
  const bare = text.trim();
  return /^(?:[a-z0-9-]+\.)+[a-z]{2,}(?:[:/?#]\S*)?$/i.test(bare) ? [`https://${bare}`] : [];
}

/** Several links at once, in the shape of a playlist: each can be ticked, and all are started together. */
export function listOf(links: readonly string[]): MediaInfo {
  const entries = links.map((url) => ({ url, title: null, duration_seconds: null, thumbnail: null }));
  return {
    url: links.join(" "), kind: "playlist", id: "", title: `${links.length} links`, site: "", duration_seconds: null, thumbnail: null,
    uploader: null, is_live: false, formats: [], qualities: [], entries, entry_count: links.length,
  };
}

/**
 * Without the words of a script that needs no spaces, when they follow the link directly: `https://b23.example/AbC看视频`.
 * After a slash or an equals sign they are the link's own: `/wiki/电影`, `?q=电影`.
 */
function unglued(link: string): string {
  const path = link.indexOf("/", link.indexOf("//") + 2);
  if (path < 0) return link;
  const tail = link.slice(path);
  const words = tail.search(/(?<=[a-z0-9_-])[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}]/iu);
  return words < 0 ? link : link.slice(0, path + words);
}

/** Drops the punctuation of the sentence around a link, but keeps a bracket that was opened inside it. */
function trimmed(link: string): string {
  const unclosed = { ")": count(link, "(") - count(link, ")"), "]": count(link, "[") - count(link, "]") };
  let end = link.length;
  for (; end > 0; end -= 1) {
    const last = link[end - 1]!;
    const isBracket = last === ")" || last === "]";
    if (!/[.,;:!?)\]}'’‘|*]/.test(last) || (isBracket && unclosed[last] >= 0)) break;
    if (isBracket) unclosed[last] += 1;
  }
  return link.slice(0, end);
}

const count = (text: string, letter: string): number => text.split(letter).length - 1;

/** What another app shared with the installed page (`share_target` of the manifest), taken out of the address bar once: its links. */
export function takeSharedLink(place: Location = location, past: History = history): string | null {
  const query = new URLSearchParams(place.search);
  const shared = ["url", "text", "title"].map((name) => query.get(name)).filter((value) => value !== null);
  if (shared.length === 0) return null;
  past.replaceState(null, "", place.pathname);
  return shared.map(linksIn).find((links) => links.length > 0)?.join(" ") ?? null;
}
