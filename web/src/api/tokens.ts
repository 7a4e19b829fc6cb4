/**
 * Where the two tokens live.
 *
 * The access token stays in memory: a reload forgets it and asks for another one. The refresh token is in localStorage,
 * so that a phone that discards the tab does not sign its user out, and so that all tabs share the *current* one: it
 * rotates at every use, and a second use of an old one ends the whole session. Losing options: sessionStorage (a
 * duplicated tab copies the token, and whichever refreshes second is taken for a thief), a cookie (would need CSRF
 * protection on every route and a second way to authenticate). What an injected script could steal is bounded by the
 * CSP (no foreign or inline script runs) and by rotation.
 */
const KEY = "vasset.refresh_token";

let accessToken: string | null = null;

export const tokens = {
  access: (): string | null => accessToken,
  refresh: (): string | null => localStorage.getItem(KEY),
  keep(pair: { access_token: string; refresh_token: string }): void {
    accessToken = pair.access_token;
    localStorage.setItem(KEY, pair.refresh_token);
  },
  forget(): void {
    accessToken = null;
    localStorage.removeItem(KEY);
  },
  /** Calls `then` when another tab signed out. */
  onForgotten(then: () => void): () => void {
    const listen = (event: StorageEvent): void => {
      if ((event.key === KEY || event.key === null) && !localStorage.getItem(KEY)) {
        accessToken = null;
        then();
      }
    };
    addEventListener("storage", listen);
    return () => removeEventListener("storage", listen);
  },
};
