"""Where the clock of a joined file begins anew: at another header, or where a time comes again.

Fragments of several recordings (advertisements, DASH periods, ``EXT-X-DISCONTINUITY``) joined byte by byte give one file whose
second part begins at zero once more; players and ffmpeg then show half of it. The file itself says where: a second ``moov`` or
EBML header, a ``tfdt`` or cluster time that does not rise. MPEG-TS has times that every reader straightens by itself.
Only headers are read, and nothing is imported that ``vasset fetch`` would have to wait for.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

EBML = b"\x1aE\xdf\xa3"
SEGMENT, CLUSTER, CLUSTER_TIME, INFO, SCALE = 0x18538067, 0x1F43B675, 0xE7, 0x1549A966, 0x2AD7B1
LARGEST_HEADER = 32 << 20
MOST_ELEMENTS = 5_000_000
JUMP_SECONDS = 60.0  # a fragment is never this long: what comes so much later is another recording
CONTAINERS = frozenset({b"moov", b"trak", b"mdia", b"moof", b"traf"})
MEDIA_BOXES = frozenset({b"mdat", b"moof"})


class Stretch:
    """Bytes with one clock: ``header`` and then ``body``, both ranges of the file. A header may be another stretch's."""

    __slots__ = ("body", "header")

    def __init__(self, header: tuple[int, int], body: tuple[int, int]) -> None:
        self.header = header
        self.body = body


def stretches(path: str | os.PathLike[str]) -> list[Stretch]:
    """One or none for a file that is as it should be, or of a kind that needs no looking at."""
    with open(path, "rb") as file:  # noqa: PTH123  # pathlib need not be imported
        head = file.read(12)
        size = os.fstat(file.fileno()).st_size
        if head[:4] == EBML:
            return _Matroska(file, size).read()
        return _Fragmented(file, size).read() if head[4:8] in {b"ftyp", b"styp", b"moov"} else []


class _Reader:
    """Collects stretches: ``_begin`` at a header, ``_cut`` where media with the same header begin again."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._size = size
        self._header: tuple[int, int] | None = None
        self._start = 0
        self._found: list[Stretch] = []
        self._has_media = False

    def _end_stretch(self, at: int) -> None:
        if self._header is not None and self._has_media:
            self._found.append(Stretch(self._header, (self._start, at)))
        self._has_media = False

    def _bytes(self, at: int, length: int) -> bytes:
        self._file.seek(at)
        return self._file.read(length)


class _Fragmented(_Reader):
    """MP4: ``ftyp moov (moof mdat)*``, perhaps several times over."""

    def read(self) -> list[Stretch]:
        between = 0  # where what belongs to the next fragment began: its index, its messages
        moov: bytes | None = None
        begun: int | None = None  # where a file within the file began that has no moov yet
        had_media = False
        scales: dict[int, int] = {}
        last: dict[int, float] = {}
        for kind, at, end, body in self._boxes():
            if kind in {b"ftyp", b"moov"} and begun is None:
                begun, had_media, self._has_media = at, self._has_media, False
            if kind == b"moov":
                start = at if begun is None else begun
                fresh = self._bytes(body, min(end - body, LARGEST_HEADER))
                is_after_media = self._has_media
                self._has_media |= had_media
                if fresh != moov:
                    self._has_media = had_media
                    self._end_stretch(start)
                    # After its media it is the end of a file that is whole by itself.
                    self._header, self._start = ((start, start), start) if is_after_media else ((start, end), end)
                    self._has_media = is_after_media
                    moov, scales, last = fresh, _time_scales(fresh), {}
                begun = None
            elif kind == b"moof" and self._header is not None:
                times = _times(self._bytes(body, min(end - body, LARGEST_HEADER)), scales)
                if any(_is_another(last.get(track), time) for track, time in times.items()):
                    self._end_stretch(between)
                    self._start, last = between, {}
                last |= times
                self._has_media = True
            elif kind == b"mdat":
                self._has_media = True
                between = end
        self._end_stretch(self._size)
        return self._found

    def _boxes(self) -> Iterator[tuple[bytes, int, int, int]]:
        at = 0
        for _ in range(MOST_ELEMENTS):
            head = self._bytes(at, 16)
            if len(head) < 8:
                return
            length, body = int.from_bytes(head[:4], "big"), at + 8
            if length == 1:
                length, body = int.from_bytes(head[8:16], "big"), at + 16
            end = self._size if length == 0 else min(at + length, self._size)
            if end < body:
                return
            yield head[4:8], at, end, body
            at = end


def _inner(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The boxes that hold times, however deep."""
    at = 0
    while at + 8 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        if length < 8:
            return
        kind, body = data[at + 4 : at + 8], data[at + 8 : at + length]
        yield kind, body
        if kind in CONTAINERS:
            yield from _inner(body)
        at += length


def _time_scales(moov: bytes) -> dict[int, int]:
    scales: dict[int, int] = {}
    track = 0
    for kind, body in _inner(moov):
        if kind == b"tkhd":
            track = int.from_bytes(body[20:24] if body[:1] == b"\x01" else body[12:16], "big")
        elif kind == b"mdhd":
            scales[track] = int.from_bytes(body[20:24] if body[:1] == b"\x01" else body[12:16], "big")
    return scales


def _times(moof: bytes, scales: dict[int, int]) -> dict[int, float]:
    """When each track's fragment begins, in seconds."""
    times: dict[int, float] = {}
    track = 0
    for kind, body in _inner(moof):
        if kind == b"tfhd":
            track = int.from_bytes(body[4:8], "big")
        elif kind == b"tfdt" and scales.get(track):
            ticks = int.from_bytes(body[4:12] if body[:1] == b"\x01" else body[4:8], "big")
            times.setdefault(track, ticks / scales[track])
    return times


def _is_another(last: float | None, now: float) -> bool:
    return last is not None and (now <= last or now > last + JUMP_SECONDS)


class _Matroska(_Reader):
    """WebM: ``EBML Segment[Info Tracks Cluster*]``, perhaps several times over. A segment's own length is not believed."""

    def read(self) -> list[Stretch]:
        last: float | None = None
        header = (0, 0)
        scale = 1_000_000
        at, begun, cluster = 0, 0, 0
        for _ in range(MOST_ELEMENTS):
            element = self._element(at)
            if element is None:
                break
            name, body, end = element
            if name == int.from_bytes(EBML, "big") and self._has_media:
                self._end_stretch(at)
                begun, last = at, None
            if name == CLUSTER:
                if not self._has_media and last is None:
                    header = (begun, at)
                    self._header, self._start = header, at
                cluster = at
                self._has_media = True
                at = body
                continue
            if name == CLUSTER_TIME:
                now = int.from_bytes(self._bytes(body, min(end - body, 8)), "big") * scale / 1e9
                if _is_another(last, now):
                    self._end_stretch(cluster)
                    self._start, self._has_media = cluster, True
                last = now
            elif name == SCALE:
                scale = int.from_bytes(self._bytes(body, min(end - body, 8)), "big") or scale
            at = body if name in {SEGMENT, INFO} else end
        self._end_stretch(self._size)
        return self._found

    def _element(self, at: int) -> tuple[int, int, int] | None:
        head = self._bytes(at, 12)
        if not head or not head[0]:
            return None
        width = 9 - head[0].bit_length()
        length_at = head[width : width + 1]
        if width > 4 or not length_at or not length_at[0]:
            return None
        length_width = 9 - length_at[0].bit_length()
        length = int.from_bytes(head[width : width + length_width], "big") & ((1 << 7 * length_width) - 1)
        body = at + width + length_width
        is_unknown = length == (1 << 7 * length_width) - 1
        name = int.from_bytes(head[:width], "big")
        end = self._size if is_unknown else min(body + length, self._size)
        return (name, body, end) if end >= body else None
