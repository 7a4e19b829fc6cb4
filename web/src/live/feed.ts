import * as api from "../api/calls";
import { backoffMs } from "./backoff";
import { type Board, EMPTY_BOARD, dismissed, ended, hasEnded, heard, remarked, type Row, started } from "./board";

/** How the numbers arrive: pushed, or asked for every two seconds while the socket is away. */
export type Link = "live" | "polling";

const TICK_MS = 2_000;
const SILENCE_MS = 12_000; // a socket this quiet beside a running download may be half open: ask

/**
 * Keeps the board of one signed-in user up to date: WebSocket first, polling while there is none.
 *
 * Both feed the same reducer with the same numbers. Every socket starts with a snapshot, and one poll beside it catches
 * what ended while nobody listened.
 */
export class Feed {
  board: Board = EMPTY_BOARD;
  link: Link = "polling";
  private socket: WebSocket | null = null;
  private attempt = 0;
  private retry: ReturnType<typeof setTimeout> | undefined;
  private tick: ReturnType<typeof setInterval> | undefined;
  private heardAt = 0;
  private polling = false;
  private running = false;
  private readonly watchers = new Set<() => void>();

  constructor(private readonly onEnded: (rows: Row[]) => void) {}

  start(): void {
    this.running = true;
    this.tick = setInterval(() => this.beat(), TICK_MS);
    addEventListener("online", this.hurry);
    document.addEventListener("visibilitychange", this.hurry);
    void this.poll();
    void this.connect();
  }

  stop(): void {
    this.running = false;
    clearInterval(this.tick);
    clearTimeout(this.retry);
    removeEventListener("online", this.hurry);
    document.removeEventListener("visibilitychange", this.hurry);
    this.socket?.close(1000);
    this.socket = null;
  }

  subscribe = (watcher: () => void): (() => void) => {
    this.watchers.add(watcher);
    return () => this.watchers.delete(watcher);
  };

  /** Shows an accepted download at once, then asks what has become of it meanwhile. */
  add(row: Row): void {
    this.show(started(this.board, row));
    void api.task(row.task_id).then((task) => this.show(heard(this.board, [task])), () => undefined);
  }

  hear(rows: readonly Row[]): void {
    this.show(heard(this.board, rows));
  }

  dismiss(task_id: string): void {
    this.show(dismissed(this.board, task_id));
  }

  private show(board: Board): void {
    if (board === this.board) return;
    const over = ended(this.board, board);
    this.board = board;
    this.watchers.forEach((tell) => tell());
    if (over.length > 0) this.onEnded(over);
    for (const row of over) if (row.phase === "completed") void this.askRemarks(row.task_id);
  }

  private async askRemarks(task_id: string): Promise<void> {
    try {
      const { remarks } = await api.task(task_id);
      this.show(remarked(this.board, task_id, remarks));
    } catch {
      // The file is what matters; it is ready to be saved.
    }
  }

  private setLink(link: Link): void {
    if (link === this.link) return;
    this.link = link;
    this.watchers.forEach((tell) => tell());
  }

  private async connect(): Promise<void> {
    clearTimeout(this.retry);
    try {
      const { ticket } = await api.socketTicket();
      if (!this.running || this.socket) return;
      const address = `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/api/v1/ws`;
      const socket = new WebSocket(address, ["vasset.v1", `ticket.${ticket}`]);
      this.socket = socket;
      socket.onmessage = (event) => this.receive(String(event.data));
      socket.onclose = () => {
        if (this.socket === socket) this.socket = null;
        this.later();
      };
    } catch {
      this.later();
    }
  }

  private later(): void {
    this.setLink("polling");
    if (!this.running) return;
    clearTimeout(this.retry);
    this.retry = setTimeout(() => void this.connect(), backoffMs(this.attempt++));
  }

  private receive(text: string): void {
    const message = JSON.parse(text) as { event: string; tasks?: Row[]; task?: Row };
    this.heardAt = Date.now();
    if (message.event === "snapshot") {
      this.attempt = 0;
      this.setLink("live");
      this.hear(message.tasks ?? []);
      void this.poll();
    } else if (message.event === "progress" && message.task) {
      const unknown = !this.board.has(message.task.task_id);
      this.hear([message.task]);
      if (unknown && !hasEnded(message.task)) void this.poll(); // begun elsewhere: ask for its address and mode
    }
  }

  private beat(): void {
    const waiting = [...this.board.values()].some((row) => !hasEnded(row) && row.phase !== "paused");
    if (!waiting || document.hidden) return;
    if (this.link === "polling" || Date.now() - this.heardAt > SILENCE_MS) void this.poll();
  }

  private async poll(): Promise<void> {
    if (this.polling || !this.running) return;
    this.polling = true;
    try {
      const page = await api.downloads();
      const known = new Set(page.items.map((task) => task.task_id));
      const missing = [...this.board.values()].filter((row) => !hasEnded(row) && !known.has(row.task_id)).slice(0, 20);
      const rest = await Promise.all(missing.map((row) => api.task(row.task_id).catch(() => null)));
      this.heardAt = Date.now();
      this.hear([...page.items].reverse().concat(rest.filter((task) => task !== null)));
    } catch {
      // The next beat asks again; the bar keeps what it showed.
    } finally {
      this.polling = false;
    }
  }

  /** The network or the reader came back: do not sit out the delay. */
  private readonly hurry = (): void => {
    if (document.hidden) return;
    void this.poll();
    if (this.socket === null) {
      this.attempt = 0;
      void this.connect();
    }
  };
}
