import { call, callAnonymously } from "./http";
import { freshKey } from "./key";
import { tokens } from "./tokens";
import type {
  Accepted, DownloadRequest, HistoryEntry, MediaInfo, Paged, Quota, Session, SignedIn, Task, User,
} from "./types";

/** One verb per route. */

export async function register(form: {
  email: string; password: string; nickname: string; invitation?: string;
}): Promise<User> {
  return signedIn(await callAnonymously<SignedIn>("/auth/register", { method: "POST", body: form }));
}

export async function login(email: string, password: string): Promise<User> {
  return signedIn(await callAnonymously<SignedIn>("/auth/login", { method: "POST", body: { email, password } }));
}

function signedIn(answer: SignedIn): User {
  tokens.keep(answer);
  return answer.user;
}

/** Ends the session on the server if it can be reached, and always here. */
export async function logout(): Promise<void> {
  try {
    await call("/auth/logout", { method: "POST" });
  } finally {
    tokens.forget();
  }
}

export const me = (): Promise<User> => call("/auth/me");

export const changePassword = (current_password: string, new_password: string): Promise<unknown> =>
  call("/auth/password", { method: "POST", body: { current_password, new_password } });

export const sessions = (): Promise<Session[]> => call("/auth/sessions");

export const endSession = (id: number): Promise<unknown> => call(`/auth/sessions/${id}`, { method: "DELETE" });

export const invite = (): Promise<{ invitation: string }> => call("/auth/invitations", { method: "POST" });

export const parse = (url: string, playlist_page?: number, signal?: AbortSignal): Promise<MediaInfo> =>
  call("/parse", { method: "POST", body: playlist_page ? { url, playlist_page } : { url }, signal });

/** `key` is made by the caller, once per intent, so that a repeat after a lost answer starts nothing twice. */
export const download = (request: DownloadRequest, key: string = freshKey()): Promise<Accepted> =>
  call("/download", { method: "POST", body: request, idempotencyKey: key });

export const downloads = (page = 1, per_page = 100): Promise<Paged<Task>> =>
  call(`/downloads?page=${page}&per_page=${per_page}`);

export const task = (task_id: string): Promise<Task> => call(`/downloads/${encodeURIComponent(task_id)}`);

export type Verb = "cancel" | "pause" | "resume" | "finish" | "retry" | "keep";
export const act = (task_id: string, verb: Verb): Promise<Task> =>
  call(`/downloads/${encodeURIComponent(task_id)}/${verb}`, { method: "POST" });

export const history = (page: number, per_page: number, q: string): Promise<Paged<HistoryEntry>> =>
  call(`/history?${new URLSearchParams({ page: String(page), per_page: String(per_page), ...(q ? { q } : {}) })}`);

export const deleteHistory = (id: number): Promise<unknown> => call(`/history/${id}`, { method: "DELETE" });

export const quota = (): Promise<Quota> => call("/quota");

export const socketTicket = (): Promise<{ ticket: string; expires_in: number }> => call("/ws/ticket", { method: "POST" });

/** The address of a finished file, good for one download. Asks first whether the file is there, so that a refusal is words on the page. */
export async function fileAddress(history_id: number): Promise<string> {
  await call(`/download/file?history_id=${history_id}`, { method: "HEAD" });
  const { ticket } = await call<{ ticket: string }>("/download/ticket", { method: "POST", body: { history_id } });
  return `/api/v1/download/file?${new URLSearchParams({ history_id: String(history_id), ticket })}`;
}
