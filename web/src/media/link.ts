const LINK = /https?:\/\/[^\s<>"'`\u3000-\u303f\uff00-\uffef]+/i;

/**
 * The first web link in a piece of text, or null.
 *
 * People paste more than a link: phones share "Title https://… via App", chats wrap it in brackets or end the sentence
 * after it. A bare `site.tld/path` counts too. Whether the address is allowed is the server's to say.
 */
export function linkIn(text: string): string | null {
  const found = LINK.exec(text)?.[0];
  if (found) return trimmed(found);
  const bare = text.trim();
  return /^(?:[a-z0-9-]+\.)+[a-z]{2,}(?:[:/?#]\S*)?$/i.test(bare) ? `https://${bare}` : null;
}

/** Drops the punctuation of the sentence around a link, but keeps a bracket that was opened inside it. */
function trimmed(link: string): string {
  let end = link.length;
  while (end > 0) {
    const last = link[end - 1]!;
    const opening = last === ")" ? "(" : last === "]" ? "[" : null;
    const inside = opening !== null && link.slice(0, end).split(opening).length >= link.slice(0, end).split(last).length;
    if (!/[.,;:!?)\]}]/.test(last) || inside) break;
    end -= 1;
  }
  return link.slice(0, end);
}

/** What another app shared with the installed page (`share_target` of the manifest), taken out of the address bar once. */
export function takeSharedLink(place: Location = location, past: History = history): string | null {
  const query = new URLSearchParams(place.search);
  const shared = ["url", "text", "title"].map((name) => query.get(name)).filter((value) => value !== null);
  if (shared.length === 0) return null;
  past.replaceState(null, "", place.pathname);
  return shared.map(linkIn).find((link) => link !== null) ?? null;
}
