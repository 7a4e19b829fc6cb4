/** Shapes of the HTTP API, as ARCHITECTURE.md lists them. Sizes in bytes, durations in seconds, times RFC 3339 UTC. */

export type Role = "free" | "premium" | "admin";
export type Mode = "quick_download" | "archive_download";
export type Status = "queued" | "running" | "retry" | "paused" | "completed" | "failed" | "cancelled";
export type Phase =
  | "queued" | "parsing" | "downloading" | "merging" | "postprocessing" | "finalizing"
  | "completed" | "failed" | "cancelled" | "paused";

export interface User { id: number; email: string; nickname: string; role: Role; created_at: string }

export interface Tokens {
  access_token: string;
  refresh_token: string;
  expires_in: number;
  refresh_expires_in: number;
}
export interface SignedIn extends Tokens { user: User }

export interface Format {
  id: string;
  ext: string;
  height: number | null;
  fps: number | null;
  video_codec: string | null;
  audio_codec: string | null;
  size_bytes: number | null;
  size_is_estimate: boolean;
  bitrate_kbps: number | null;
  language: string | null;
  note: string | null;
}
export interface QualityChoice { quality: string; label: string; size_bytes: number | null }
export interface PlaylistEntry {
  url: string;
  title: string | null;
  duration_seconds: number | null;
  thumbnail: string | null;
}
export interface MediaInfo {
  url: string;
  kind: "single" | "playlist";
  id: string;
  title: string;
  site: string;
  duration_seconds: number | null;
  thumbnail: string | null;
  uploader: string | null;
  is_live: boolean;
  formats: Format[];
  qualities: QualityChoice[];
  entries: PlaylistEntry[];
  entry_count: number | null;
}

export interface DownloadRequest {
  url: string;
  mode: Mode;
  quality: string;
  format: string;
  subtitles: boolean;
  title?: string;
  duration_seconds?: number;
}
export interface Accepted { task_id: string; history_id: number; status: Status }

export type Fault = "user" | "site" | "exit" | "pace" | "extractor" | "us";
export interface TaskError {
  reason: string;
  kind: string;
  fault: Fault;
  message: string;
  /** What the reader can do next. */
  action: string;
  retryable: boolean;
  /** When it is tried again by itself. */
  retry_at: string | null;
}

/** What a WebSocket frame and a task have in common. */
export interface Progress {
  task_id: string;
  history_id: number | null;
  title: string | null;
  phase: Phase;
  percent: number | null;
  downloaded_bytes: number;
  total_bytes: number | null;
  total_is_estimate: boolean;
  speed_bytes_per_second: number | null;
  eta_seconds: number | null;
  attempt: number;
  seq: number;
  /** Why it does not go on just now. */
  waiting_for: { reason: string; message: string } | null;
  /** A recording of something on air: it has no total, and ends when its user says so. */
  is_live: boolean;
  error: TaskError | null;
}
export interface Task extends Progress {
  url: string;
  mode: Mode;
  quality: string;
  format: string;
  status: Status;
  created_at: string;
  updated_at: string;
  completed_at: string | null;
  /** What the finished file lacks, or why its form is not the one asked for. */
  remarks: string[];
}

export interface HistoryEntry {
  id: number;
  task_id: string;
  url: string;
  title: string | null;
  mode: Mode;
  status: Status;
  file_name: string | null;
  file_size: number | null;
  file_hash: string | null;
  hash_algorithm: string | null;
  created_at: string;
  completed_at: string | null;
  expire_at: string | null;
  has_file: boolean;
}
export interface Paged<Item> { items: Item[]; page: number; per_page: number; total: number }
export interface Quota { daily_limit: number; daily_used: number; remaining: number; reset_at: string }
export interface Session {
  id: number;
  created_at: string;
  expires_at: string;
  user_agent: string | null;
  current: boolean;
}
