import { span } from "./measure";

/** What went wrong, and what the reader can do now. */
export interface ErrorWords { title: string; next: string; showMessage: boolean }

interface Entry { title: string; next: string; showMessage?: boolean }

const AGAIN = "Try again in a moment.";

/** By `reason`: the stable word of the API and of a failed task, plus the page's own (network, timeout …). */
const WORDS: Record<string, Entry> = {
  // what was typed
  invalid_input: { title: "The server did not accept that", next: "Correct it and send it again.", showMessage: true },
  invalid_url: { title: "That is not a web link", next: "Copy the whole address from the browser, from https:// on." },
  egress_refused: {
    title: "This address is not on the public internet",
    next: "Only the operator of this server can open private addresses.",
  },
  unsupported_site: { title: "No video was found behind this link", next: "Open the video's own page and copy its link from there." },
  unavailable_format: { title: "This video does not come in that quality", next: "Choose another quality or format." },
  // who is asking
  unauthenticated: { title: "You are signed out", next: "Sign in again." },
  invalid_credentials: { title: "Email or password is wrong", next: "Check both and try again." },
  token_expired: { title: "You were signed out", next: "Sign in again." },
  token_revoked: { title: "This session was ended", next: "Sign in again." },
  forbidden: { title: "Your account may not do that", next: "Ask the administrator of this server." },
  registration_closed: { title: "New accounts need an invitation here", next: "Ask the administrator for a code, and enter it under “I have an invitation”." },
  email_taken: { title: "There is an account with this email already", next: "Sign in instead." },
  not_found: { title: "That is not there any more", next: "It may have expired or been deleted. Download it again." },
  // state
  conflict: { title: "That does not fit any more", next: "Look at the present state and try again.", showMessage: true },
  idempotency_mismatch: { title: "The request was mixed up with another one", next: "Send it again." },
  idempotency_in_flight: { title: "The same request is still running", next: AGAIN },
  illegal_transition: { title: "That is not possible at this stage", next: "Look at what the download is doing now." },
  // limits
  limit_reached: { title: "A limit is reached", next: AGAIN, showMessage: true },
  quota_exceeded: { title: "Today's downloads are used up", next: "The count starts again at midnight UTC." },
  too_many_requests: { title: "Too many requests", next: "Wait a little, then go on." },
  too_many_tasks: { title: "Too many unfinished downloads", next: "Wait until one ends, or cancel one." },
  // the service
  unavailable: { title: "A part of the service is down", next: AGAIN },
  dependency_down: { title: "A part of the service is down", next: AGAIN },
  service_token_refused: { title: "The parts of the service do not trust each other", next: "Tell the administrator: the service token differs." },
  overloaded: { title: "The server is busy", next: AGAIN },
  breaker_open: { title: "This site keeps failing", next: "It is left alone for half a minute, then tried again." },
  disk_pressure: { title: "The server's disk is nearly full", next: "Delete files you no longer need; downloads go on when there is space." },
  internal: { title: "Something broke on the server", next: "Try again; if it stays, send the details to the administrator." },
  // a download that failed
  task_failed: { title: "The download failed", next: "Try it again.", showMessage: true },
  extraction_failed: { title: "The page could not be read", next: "Check that the video plays in a private window, then try again.", showMessage: true },
  transfer_failed: { title: "The video could not be fetched", next: "Retry goes on from the bytes that are here; if it fails again, check the page itself.", showMessage: true },
  urls_expired: { title: "The site's links ran out in the middle", next: "Retry reads the page again and goes on." },
  postprocess_failed: { title: "The file could not be put together", next: "Try another format; “original” needs no conversion.", showMessage: true },
  storage_failed: { title: "The file could not be stored", next: "Try again; if it stays, tell the administrator." },
  disk_full: { title: "The server's disk is full", next: "Delete files you no longer need, then retry." },
  task_timed_out: { title: "The download took too long", next: "Retry goes on where the bytes stopped, or choose a smaller quality." },
  lease_lost: { title: "Another worker took the download over", next: "Nothing to do: it goes on there." },
  // the page itself
  network: { title: "The server cannot be reached", next: "Check the connection; nothing you started is lost." },
  timeout: { title: "The server took too long to answer", next: AGAIN },
  clipboard: { title: "The clipboard could not be read", next: "Paste into the field instead." },
  page_fault: { title: "This page made a mistake", next: "Reload it; nothing you started is lost.", showMessage: true },
};

const FALLBACK: Entry = { title: "That did not work", next: AGAIN, showMessage: true };

/** What the server says about a failure beyond its reason: of what kind it is, and what can be done. */
export interface Told { reason: string; message?: string; kind?: string | null; action?: string | null; retryAfterSeconds?: number | null }

export function errorWords(error: Told): ErrorWords {
  const entry = Object.hasOwn(WORDS, error.reason) ? WORDS[error.reason]! : FALLBACK;
  if (error.kind && error.action && error.message && !UNTOLD.has(error.kind) && error.kind !== error.reason)
    return REQUEST.test(error.message) ? { title: entry.title, next: error.action, showMessage: true } : told(error.message, error.action);
  const wait = error.retryAfterSeconds ? `Try again in ${span(error.retryAfterSeconds)}.` : null;
  return { title: entry.title, next: wait && entry.next === AGAIN ? wait : entry.next, showMessage: (entry.showMessage ?? false) && !repeats(entry.title, error.message) };
}

/** The engine's own words begin with what was asked of the origin: particulars, and no headline. */
const REQUEST = /^(GET|HEAD|POST) /;

/** “The site's page could not be read” below “The page could not be read”. */
function repeats(title: string, message = ""): boolean {
  const inWords = (text: string): string[] => text.toLowerCase().match(/[\p{L}']+/gu) ?? [];
  const said = inWords(title);
  const more = inWords(message);
  return more.length > 0 && more.length <= said.length + 1 && said.every((word) => more.includes(word));
}

/** Kinds that say no more than the reason does. */
const UNTOLD = new Set(["other", "task_failed", "internal"]);

/** The server's table has the words for every kind of failure (domain/faults.py); the page does not spell them a second time. */
function told(message: string, action: string): ErrorWords {
  const end = message.search(/[.;] /);
  const title = (end < 0 ? message : message.slice(0, end)).replace(/\.$/, "");
  return { title: title.charAt(0).toUpperCase() + title.slice(1), next: action, showMessage: end >= 0 };
}

export const knownReasons = (): string[] => Object.keys(WORDS);

/** What is copied for a bug report: no token, no query string. */
export function details(error: {
  reason: string; message: string; kind?: string | null; code?: number; requestId?: string | null; httpStatus?: number;
}, about: { task_id?: string; url?: string }, now: Date): string {
  const lines: [string, unknown][] = [
    ["time", now.toISOString()],
    ["reason", error.reason],
    ["kind", error.kind],
    ["message", error.message],
    ["code", error.code || null],
    ["status", error.httpStatus || null],
    ["request", error.requestId],
    ["task", about.task_id],
    ["link", about.url && about.url.split(/[?#]/, 1)[0]],
  ];
  return lines.filter(([, value]) => value).map(([name, value]) => `${name}: ${String(value)}`).join("\n");
}
