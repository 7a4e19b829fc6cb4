import type { Format, MediaInfo } from "../api/types";
import { size } from "../words/measure";

/** Which containers suit which quality; the first is the default. */
export const VIDEO_FORMATS = ["mp4", "mkv", "webm", "original"] as const;
export const AUDIO_FORMATS = ["m4a", "mp3", "opus", "flac", "original"] as const;

export const FORMAT_WORDS: Record<string, string> = {
  mp4: "MP4: H.264 where the site has it, for phones and TVs",
  mkv: "MKV: holds any codec",
  webm: "WebM: open codecs",
  original: "Original: as the site serves it",
  m4a: "M4A: AAC, for phones and TVs",
  mp3: "MP3: oldest players too",
  opus: "Opus: smallest",
  flac: "FLAC: lossless container",
};

/** Offered for a playlist, whose entries are not read yet. */
export const PLAYLIST_QUALITIES = [
  { quality: "best", label: "Best", size_bytes: null },
  { quality: "1080p", label: "1080p", size_bytes: null },
  { quality: "720p", label: "720p", size_bytes: null },
  { quality: "480p", label: "480p", size_bytes: null },
  { quality: "audio", label: "Sound only", size_bytes: null },
];

export function isAudio(quality: string, formats: readonly Format[]): boolean {
  if (quality === "audio") return true;
  const format = formats.find((one) => one.id === quality);
  return format !== undefined && isNone(format.video_codec) && !isNone(format.audio_codec);
}

export const formatsFor = (quality: string, media: MediaInfo): readonly string[] =>
  isAudio(quality, media.formats) ? AUDIO_FORMATS : VIDEO_FORMATS;

/** One line of the list of exact streams. */
export function formatLabel(format: Format): string {
  const parts = [
    format.height ? `${format.height}p${format.fps && format.fps > 30 ? Math.round(format.fps) : ""}` : format.note ?? format.id,
    format.height && format.note && !format.note.startsWith(`${format.height}p`) ? format.note : "",
    format.language ?? "",
    [format.video_codec, format.audio_codec].filter((codec) => !isNone(codec)).map((codec) => codec!.split(".")[0]).join(" + "),
    format.ext,
    format.size_bytes ? `${format.size_is_estimate ? "about " : ""}${size(format.size_bytes)}` : "",
  ];
  return parts.filter((part) => part !== "").join(" · ");
}

function isNone(codec: string | null): boolean {
  return codec === null || codec === "none" || codec === "";
}
