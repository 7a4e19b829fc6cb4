"""Videos as the product speaks of them: qualities, containers, formats, extractions."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal


class Container(StrEnum):
    """The file the user wants. ``ORIGINAL`` keeps whatever the site serves."""

    MP4 = "mp4"
    MKV = "mkv"
    WEBM = "webm"
    MP3 = "mp3"
    M4A = "m4a"
    OPUS = "opus"
    FLAC = "flac"
    ORIGINAL = "original"

    @property
    def is_audio(self) -> bool:
        return self in {Container.MP3, Container.M4A, Container.OPUS, Container.FLAC}


QUALITIES = ("best", "2160p", "1440p", "1080p", "720p", "480p", "360p", "audio")
# What yt-dlp leaves of an id: any script, no blank and none of the signs its own expressions are made of.
FORMAT_ID = re.compile(r"[^\s,/\[\]()]{1,64}\Z")


def is_quality(text: str) -> bool:
    """Whether ``text`` is one of :data:`QUALITIES` or could be a site's format id."""
    return text in QUALITIES or (text.isprintable() and bool(FORMAT_ID.match(text)))


@dataclass(frozen=True, slots=True)
class Format:
    """One stream or muxed file the site offers."""

    id: str
    ext: str
    protocol: str
    height: int | None = None
    width: int | None = None
    fps: float | None = None
    video_codec: str | None = None
    audio_codec: str | None = None
    size_bytes: int | None = None
    size_is_estimate: bool = False
    bitrate_kbps: float | None = None
    language: str | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True)
class QualityChoice:
    """One line of the short list people choose from."""

    quality: str
    label: str
    size_bytes: int | None


@dataclass(frozen=True, slots=True)
class PlaylistEntry:
    """An entry known by its address only; parse it to learn more."""

    url: str
    title: str | None = None
    duration_seconds: float | None = None
    thumbnail: str | None = None


@dataclass(frozen=True, slots=True)
class MediaInfo:
    """What ``/parse`` answers."""

    url: str
    kind: Literal["single", "playlist"]
    id: str
    title: str
    site: str
    duration_seconds: float | None = None
    thumbnail: str | None = None
    uploader: str | None = None
    is_live: bool = False
    formats: Sequence[Format] = ()
    qualities: Sequence[QualityChoice] = ()
    entries: Sequence[PlaylistEntry] = ()
    entry_count: int | None = None
    extractor_version: str | None = None


@dataclass(frozen=True, slots=True)
class Fragment:
    """One piece of a stream the site lists explicitly (yt-dlp ``fragments``)."""

    url: str
    byte_range: tuple[int, int] | None = None
    duration_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Stream:
    """One file the engine must fetch, under the very name yt-dlp's post-processing expects.

    ``kind``: ``file`` (one URL, ranges), ``hls`` (playlist URL), ``fragments`` (explicit list), or ``native`` when only yt-dlp's
    own downloader can fetch it (live, rtmp, browser-fingerprint sites): then the child fetches, behind the guard.
    """

    format_id: str
    kind: Literal["file", "hls", "dash", "fragments", "native"]
    url: str
    file_name: str
    headers: Mapping[str, str] = field(default_factory=dict)
    cookies: str | None = None
    fragments: Sequence[Fragment] = ()
    size_bytes: int | None = None
    max_range_bytes: int | None = None
    # Unix time before which the site refuses it: the length of an advertisement nobody watches here.
    available_at: float | None = None
    # What makes it the same stream when the site numbers its formats anew.
    codecs: str | None = None
    language: str | None = None


@dataclass(frozen=True, slots=True)
class Extraction:
    """The result of phase one: what to fetch, and what the child needs back for phase two.

    ``info`` is yt-dlp's info dictionary, JSON-safe and opaque to everybody but the extraction child.
    """

    title: str
    site: str
    streams: Sequence[Stream]
    info: Mapping[str, Any]
    extractor_version: str
    duration_seconds: float | None = None
    estimated_bytes: int | None = None
    # On air: the streams are all ``native`` and are recorded until they end or somebody ends them.
    is_live: bool = False
    # Set when the one stream, as the site serves it, already is the requested file: phase two only looks at it.
    finished_ext: str | None = None


@dataclass(frozen=True, slots=True)
class ProcessedMedia:
    """The one file phase two leaves in the workspace. ``remarks`` say what it lacks, or why its form is not the one asked for."""

    path: str
    ext: str
    duration_seconds: float | None = None
    remarks: Sequence[str] = ()
