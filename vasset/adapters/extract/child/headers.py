"""What is inside an MP4 of one stream, as its own header says it: ffmpeg takes longer to start than such a pair to merge.

Whatever is not plainly one picture or one sound of a well-known codec is ffmpeg's to name (:func:`pieces.inspect`). Nothing is proved
here: the streams that ffmpeg reads while it makes the file are what the file is compared with. How many channels a sound has is not told: the header is often wrong, and only an encoder asks.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from vasset.adapters.extract.child.pieces import Piece
from vasset.adapters.extract.length import boxes

PICTURES = {b"avc1": "h264", b"avc3": "h264", b"hvc1": "hevc", b"hev1": "hevc", b"av01": "av1", b"vp09": "vp9"}
SOUNDS = {b"mp4a": "aac", b"Opus": "opus", b"ac-3": "ac3", b"ec-3": "eac3"}
LARGEST_TABLE = 64 << 10
# Object types of ISO/IEC 14496-1, 7.2.6.6: MPEG-4 audio and the three profiles of MPEG-2's AAC.
AAC = frozenset({0x40, 0x66, 0x67, 0x68})
OTHER_DETAILS = (b"covr", b"chpl")  # of ``udta``: a cover and Nero's chapters


def plain_pieces(files: Sequence[Path]) -> list[Piece] | None:
    """The one stream of each of ``files``; None when any of them is not plain."""
    found: list[Piece] = []
    for number, path in enumerate(files):
        try:
            with path.open("rb") as file:
                piece = _piece(file, path.stat().st_size, number)
        except (OSError, struct.error, ValueError, IndexError):
            return None
        if piece is None:
            return None
        found.append(piece)
    return found


def _piece(file: BinaryIO, size: int, number: int) -> Piece | None:
    moov = next(((begin, end) for name, begin, end in boxes(file, 0, size) if name == b"moov"), None)
    if moov is None:
        return None
    inner = list(boxes(file, *moov))
    tracks = [(begin, end) for name, begin, end in inner if name == b"trak"]
    details = [(begin, end) for name, begin, end in inner if name in {b"udta", b"meta"}]
    if len(tracks) != 1 or any(_has_more(file, *each) for each in details):
        return None
    within = dict(_below(file, *tracks[0]))
    kind = within[b"hdlr"][8:12] if b"hdlr" in within else b""
    table = within.get(b"stsd", b"")
    if len(table) < 16 or table[4:8] != b"\0\0\0\1":  # one description of the samples
        return None
    return _picture(table[8:], number) if kind == b"vide" else _sound(table[8:], number) if kind == b"soun" else None


def _has_more(file: BinaryIO, begin: int, end: int) -> bool:
    """Whether there may be a cover or chapters besides the stream."""
    return end - begin > LARGEST_TABLE or any(name in _bytes(file, begin, end) for name in OTHER_DETAILS)


def _below(file: BinaryIO, begin: int, end: int) -> list[tuple[bytes, bytes]]:
    """The boxes of a track that say what it is, however deep."""
    found: list[tuple[bytes, bytes]] = []
    for name, start, stop in boxes(file, begin, end):
        if name in {b"mdia", b"minf", b"stbl"}:
            # The first ``hdlr`` is the track's; a reader of data references has one of its own.
            found += [each for each in _below(file, start, stop) if each[0] not in dict(found)]
        elif name in {b"hdlr", b"stsd"}:
            found.append((name, _bytes(file, start, stop)))
    return found


def _picture(entry: bytes, number: int) -> Piece | None:
    codec = PICTURES.get(entry[4:8])
    width, height = struct.unpack(">HH", entry[32:36])
    return Piece(number, 0, "video", codec, (width, height)) if codec and width and height else None


def _sound(entry: bytes, number: int) -> Piece | None:
    codec = SOUNDS.get(entry[4:8])
    if codec is None or entry[16:18] != b"\0\0" or (codec == "aac" and _object_type(entry) not in AAC):
        return None
    return Piece(number, 0, "audio", codec)


def _object_type(entry: bytes) -> int | None:
    """Of ``esds``: the descriptor of a stream (3), in it the one of its decoder (4), which begins with it."""
    words = entry.partition(b"esds")[2]
    stream = _content(words, 4, 3)  # after version and flags
    if stream is None or words[stream + 2] != 0:  # it depends on another stream, or names a place
        return None
    decoder = _content(words, stream + 3, 4)
    return None if decoder is None else words[decoder]


def _content(words: bytes, at: int, tag: int) -> int | None:
    """Where the descriptor at ``at`` has its content, after a length of up to four bytes; None for another one."""
    if words[at] != tag:
        return None
    while words[at + 1] & 0x80:
        at += 1
    return at + 2


def _bytes(file: BinaryIO, begin: int, end: int) -> bytes:
    file.seek(begin)
    return file.read(min(end - begin, LARGEST_TABLE))
