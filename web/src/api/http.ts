import { Failure } from "./failure";
import { tokens } from "./tokens";
import type { Tokens } from "./types";

const API = "/api/v1";
const TIMEOUT_MS = 75_000; // a parse may take 60 s

export interface Ask {
  method?: "GET" | "POST" | "DELETE" | "HEAD";
  body?: unknown;
  idempotencyKey?: string;
  signal?: AbortSignal | undefined;
}

/** Calls the API as the signed-in user; a 401 refreshes the tokens once and repeats the call. */
export async function call<Data>(path: string, ask: Ask = {}): Promise<Data> {
  const used = tokens.access() ?? (await refreshTokens(null));
  try {
    return await send<Data>(path, ask, used);
  } catch (error) {
    if (!(error instanceof Failure) || error.httpStatus !== 401) throw error;
    return send<Data>(path, ask, await refreshTokens(used));
  }
}

/** Calls the API without a token: register, login, refresh. */
export function callAnonymously<Data>(path: string, ask: Ask): Promise<Data> {
  return send<Data>(path, ask, null);
}

let refreshing: Promise<string> | null = null;

/** Rotates the tokens: one request for any number of callers in this tab, and one tab at a time where the browser has locks. */
function refreshTokens(stale: string | null): Promise<string> {
  const current = tokens.access();
  if (current && current !== stale) return Promise.resolve(current);
  refreshing ??= alone(rotate).finally(() => {
    refreshing = null;
  });
  return refreshing;
}

/** Locks exist in secure contexts only; over plain HTTP the server's grace period covers two tabs that meet. */
function alone<Result>(work: () => Promise<Result>): Promise<Result> {
  return "locks" in navigator ? navigator.locks.request("vasset.refresh", work) as Promise<Result> : work();
}

async function rotate(): Promise<string> {
  const refresh_token = tokens.refresh(); // read inside the lock: another tab may have rotated it
  if (!refresh_token) throw new Failure({ reason: "unauthenticated", message: "Sign in to go on.", httpStatus: 401 });
  try {
    const pair = await send<Tokens>("/auth/refresh", { method: "POST", body: { refresh_token } }, null);
    tokens.keep(pair);
    return pair.access_token;
  } catch (error) {
    if (error instanceof Failure && (error.httpStatus === 401 || error.httpStatus === 400)) {
      tokens.forget();
      ended.forEach((tell) => tell());
    }
    throw error;
  }
}

const ended = new Set<() => void>();

/** Calls `tell` when the session is over: refused by the server, or signed out in another tab. */
export function onSessionEnd(tell: () => void): () => void {
  ended.add(tell);
  const stop = tokens.onForgotten(tell);
  return () => {
    ended.delete(tell);
    stop();
  };
}

async function send<Data>(path: string, ask: Ask, accessToken: string | null): Promise<Data> {
  const headers: Record<string, string> = { Accept: "application/json" };
  if (accessToken) headers["Authorization"] = `Bearer ${accessToken}`;
  if (ask.idempotencyKey) headers["Idempotency-Key"] = ask.idempotencyKey;
  if (ask.body !== undefined) headers["Content-Type"] = "application/json";
  const timeout = AbortSignal.timeout(TIMEOUT_MS);
  let response: Response;
  try {
    response = await fetch(API + path, {
      method: ask.method ?? "GET",
      headers,
      body: ask.body === undefined ? null : JSON.stringify(ask.body),
      signal: ask.signal ? either(ask.signal, timeout) : timeout,
      cache: "no-store",
      credentials: "omit",
    });
  } catch (error) {
    if (ask.signal?.aborted) throw new Failure({ reason: "aborted", message: "Stopped." });
    if (timeout.aborted)
      throw new Failure({ reason: "timeout", message: "The server took too long to answer.", retryable: true });
    throw new Failure({ reason: "network", message: String(error), retryable: true });
  }
  return open<Data>(response, ask.method === "HEAD");
}

async function open<Data>(response: Response, empty: boolean): Promise<Data> {
  const envelope = empty ? null : ((await response.json().catch(() => null)) as Record<string, unknown> | null);
  if (response.ok && (empty || envelope?.["code"] === 0)) return envelope?.["data"] as Data;
  const after = Number(response.headers.get("Retry-After"));
  throw new Failure({
    reason: text(envelope?.["reason"]) ?? reasonOfStatus(response.status),
    kind: text(envelope?.["kind"]),
    action: text(envelope?.["action"]),
    message: text(envelope?.["message"]) ?? `The server answered with status ${response.status}.`,
    code: Number(envelope?.["code"] ?? 0),
    httpStatus: response.status,
    retryable: envelope?.["retryable"] === true,
    requestId: text(envelope?.["request_id"]) ?? response.headers.get("X-Request-ID"),
    retryAfterSeconds: Number.isFinite(after) && after > 0 ? after : null,
  });
}

/** What a status means when no envelope came with it (a proxy in between, or HEAD). */
function reasonOfStatus(status: number): string {
  if (status === 401) return "unauthenticated";
  if (status === 403) return "forbidden";
  if (status === 404 || status === 410) return "not_found";
  if (status === 429) return "too_many_requests";
  return status >= 500 ? "unavailable" : "internal";
}

function text(value: unknown): string | null {
  return typeof value === "string" && value !== "" ? value : null;
}

/** `AbortSignal.any`, which Safari has only since 17.4. */
function either(first: AbortSignal, second: AbortSignal): AbortSignal {
  const controller = new AbortController();
  for (const signal of [first, second]) {
    if (signal.aborted) controller.abort(signal.reason);
    signal.addEventListener("abort", () => controller.abort(signal.reason), { once: true });
  }
  return controller.signal;
}
