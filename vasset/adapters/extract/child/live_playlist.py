"""A live HLS media playlist as text → what can be fetched of it right now (RFC 8216). Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urljoin

# Anchored, for `match`: searched for, a line of 400,000 letters without `=` takes a day.
ATTRIBUTE = re.compile(r'([A-Z0-9-]+)=("[^"]*"|[^",]*)(?:,|$)')
MAX_SEGMENTS = 100_000
MAX_TARGET_SECONDS = 60.0


class NotPlayable(Exception):
    """The text is no media playlist, or a protected one."""


@dataclass(frozen=True, slots=True)
class Piece:
    """``byte_range`` is the first byte and the one after the last."""

    url: str
    byte_range: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Key:
    url: str
    iv: bytes


@dataclass(frozen=True, slots=True)
class Segment:
    """``number`` is its media sequence number; ``head`` what a player needs before it (fMP4)."""

    number: int
    piece: Piece
    seconds: float
    key: Key | None
    head: Piece | None


@dataclass(frozen=True, slots=True)
class Window:
    """What the playlist lists at the moment, oldest first."""

    segments: tuple[Segment, ...]
    target_seconds: float
    has_ended: bool


def parse(text: str, address: str) -> Window:
    """Raises :class:`NotPlayable`."""
    if not text.lstrip("\ufeff").startswith("#EXTM3U") or "#EXT-X-STREAM-INF" in text:
        raise NotPlayable("this is no media playlist")
    reader = _Reader(address)
    for line in text.splitlines():
        reader.take(line.strip())
    return Window(tuple(reader.segments), reader.target_seconds, reader.has_ended)


class _Reader:
    def __init__(self, address: str) -> None:
        self.segments: list[Segment] = []
        self.target_seconds = 5.0
        self.has_ended = False
        self._address = address
        self._number = 0
        self._seconds = 0.0
        self._range: tuple[int, int] | None = None
        self._range_end = 0
        self._key: tuple[str, bytes | None] | None = None
        self._head: Piece | None = None
        self._is_gap = False

    def take(self, line: str) -> None:
        if line and not line.startswith("#"):
            self._segment(line)
            return
        tag, _, value = line.partition(":")
        match tag:
            case "#EXT-X-MEDIA-SEQUENCE":
                self._number = _whole(value)
            case "#EXT-X-TARGETDURATION":
                self.target_seconds = min(max(_decimal(value), 0.5), MAX_TARGET_SECONDS)
            case "#EXTINF":
                self._seconds = _decimal(value.partition(",")[0])
            case "#EXT-X-BYTERANGE":
                self._range = _byte_range(value, self._range_end)
            case "#EXT-X-KEY":
                self._key = self._read_key(attributes(value))
            case "#EXT-X-MAP":
                named = attributes(value)
                limits = _byte_range(named["BYTERANGE"], 0) if "BYTERANGE" in named else None
                self._head = Piece(urljoin(self._address, named.get("URI", "")), limits)
            case "#EXT-X-GAP":
                self._is_gap = True
            case "#EXT-X-ENDLIST":
                self.has_ended = True

    def _segment(self, line: str) -> None:
        if len(self.segments) >= MAX_SEGMENTS:
            raise NotPlayable("the playlist lists more segments than a window can have")
        key = None
        if self._key is not None:
            url, iv = self._key
            key = Key(url, iv if iv is not None else self._number.to_bytes(16, "big"))
        if not self._is_gap:
            piece = Piece(urljoin(self._address, line), self._range)
            self.segments.append(Segment(self._number, piece, self._seconds, key, self._head))
        self._range_end = self._range[1] if self._range is not None else 0
        self._range, self._is_gap = None, False
        self._number += 1

    def _read_key(self, named: dict[str, str]) -> tuple[str, bytes | None] | None:
        method = named.get("METHOD", "NONE")
        if method == "NONE":
            return None
        if method != "AES-128" or named.get("KEYFORMAT", "identity") != "identity":
            raise NotPlayable("the stream is protected")
        iv = named.get("IV")
        try:
            given = bytes.fromhex(iv[2:].zfill(32)) if iv else None
        except ValueError as error:
            raise NotPlayable("the stream's key cannot be read") from error
        return urljoin(self._address, named.get("URI", "")), given


def attributes(text: str) -> dict[str, str]:
    """``NAME=value,NAME="quoted, value"`` (RFC 8216 §4.2), in time that grows with the length of the text.

    yt-dlp hands over the line with its tag, ``#EXT-X-MEDIA:TYPE=AUDIO,…``.
    """
    found: dict[str, str] = {}
    at = text.find(":") + 1 if text.startswith("#") else 0
    while at < len(text):
        attribute = ATTRIBUTE.match(text, at)
        if attribute is not None:
            found[attribute[1]] = attribute[2].strip('"')
            at = attribute.end()
        elif text[at].isspace():
            at += 1
        else:  # what is no attribute ends at the next comma
            at = text.find(",", at) + 1 or len(text)
    return found


def _byte_range(text: str, after: int) -> tuple[int, int]:
    length, at, start = text.partition("@")
    first = _whole(start) if at else after
    return first, first + _whole(length)


def _whole(text: str) -> int:
    digits = text.strip()
    if not (digits.isascii() and digits.isdigit() and len(digits) < 20):
        raise NotPlayable("the playlist has a number that is none")
    return int(digits)


def _decimal(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        return 0.0
    return number if 0.0 <= number < 86_400.0 else 0.0
