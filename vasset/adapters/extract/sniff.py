"""What a file is by its first bytes, and the one ffmpeg demuxer that may read it.

ffmpeg left to itself follows what the bytes say: an ``.mp4`` that is an HLS playlist made it read another local file, whatever
``-protocol_whitelist`` said (CVE-2017-9993 and its family). So nothing is handed to it without a demuxer chosen here, and
nothing that names other files (playlists, concat lists, SMIL, HTML) has one. Standard library only.
"""

from __future__ import annotations

import os

HEAD_BYTES = 4096
TS_PACKET = 188
BOXES = frozenset(
    {
        b"ftyp",
        b"moov",
        b"moof",
        b"styp",
        b"sidx",
        b"mdat",
        b"free",
        b"skip",
        b"wide",
        b"pnot",
        b"uuid",
        b"emsg",
        b"prft",
    }
)
SRT_CUE = r"\s*+\d++[^\S\n]*+\n\s*+\d{1,3}:\d\d:\d\d[,.]\d{1,3}\s*-->"

MEDIA = frozenset(
    {
        "mov",
        "matroska",
        "mpegts",
        "flv",
        "ogg",
        "mp3",
        "aac",
        "flac",
        "wav",
        "avi",
        "asf",
        "ac3",
        "eac3",
        "amr",
        "caf",
        "aiff",
        "mpeg",
        "mpegvideo",
        "rm",
        "mxf",
        "dv",
        "nut",
        "wv",
        "ape",
        "tta",
        "dsf",
        "au",
        "ivf",
        "loas",
    }
)
IMAGES = {"jpeg": "jpeg_pipe", "png": "png_pipe", "webp": "webp_pipe", "gif": "gif", "avif": "mov"}
STILL_BRANDS = frozenset({b"avif", b"avis", b"heic", b"heix", b"mif1", b"msf1"})
# Of the rarer kinds, which keep their form when nobody asked for another.
MAGIC = (
    (b"\x00\x00\x01\xba", "mpeg"), (b"\x00\x00\x01\xb3", "mpegvideo"), (b".RMF", "rm"), (b"\x06\x0e\x2b\x34\x02\x05\x01\x01", "mxf"),
    (b"\x1f\x07\x00", "dv"), (b"nut/multimedia container\x00", "nut"), (b"wvpk", "wv"), (b"MAC ", "ape"), (b"TTA1", "tta"), (b"DSD ", "dsf"),
    (b".snd", "au"), (b"DKIF", "ivf"), (b"FLV\x01", "flv"), (b"OggS", "ogg"), (b"fLaC", "flac"), (b"0&\xb2u", "asf"), (b"caff", "caf"),
    (b"#!AMR\n", "amr"), (b"#!AMR-WB\n", "amr"),
)  # fmt: skip
TEXTS = {"webvtt": "webvtt", "srt": "srt", "ass": "ass", "ffmetadata": "ffmetadata"}


def sniff(path: str) -> str | None:
    """The kind of the file at ``path``: a member of MEDIA, IMAGES or TEXTS, or None for whatever must not be opened."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        head = os.read(descriptor, HEAD_BYTES)
        if head[:3] == b"ID3" and len(head) >= 10:
            offset = 10 + _syncsafe(head[6:10])
            os.lseek(descriptor, offset, os.SEEK_SET)
            return _tagged(os.read(descriptor, HEAD_BYTES))
        return sniff_bytes(head)
    finally:
        os.close(descriptor)


def demuxer(kind: str) -> str:
    """ffmpeg's name for the demuxer that reads ``kind``."""
    return IMAGES.get(kind) or TEXTS.get(kind) or kind


def sniff_bytes(head: bytes) -> str | None:
    return _media(head) or _image(head) or _text(head)


def _media(head: bytes) -> str | None:
    if head[4:8] == b"ftyp" and head[8:12] in STILL_BRANDS:
        return None  # a picture in the clothes of a film
    if head[4:8] in BOXES:
        return "mov"
    if head[:4] == b"\x1aE\xdf\xa3":
        return "matroska"
    if _is_transport_stream(head):
        return "mpegts"
    if kind := next((kind for magic, kind in MAGIC if head.startswith(magic)), None):
        return kind
    if head[:4] in {b"RIFF", b"RF64"}:
        return {b"WAVE": "wav", b"AVI ": "avi"}.get(head[8:12])
    if head[:4] == b"FORM" and head[8:12] in {b"AIFF", b"AIFC"}:
        return "aiff"
    return _audio_frame(head)


def _is_transport_stream(head: bytes) -> bool:
    """Packets of 188 bytes; Blu-ray and cameras put four bytes of time before each, broadcasters sixteen of correction after."""
    for first, step in ((0, TS_PACKET), (4, TS_PACKET + 4), (0, TS_PACKET + 16)):
        marks = range(first, min(len(head), first + 5 * step), step)
        if len(head) >= TS_PACKET and all(head[at : at + 1] == b"G" for at in marks):
            return True
    return False


def _audio_frame(head: bytes) -> str | None:
    if len(head) < 6:
        return None
    if head[:2] == b"\x0bw":
        return "eac3" if head[5] >> 3 > 10 else "ac3"
    if head[0] == 0xFF and head[1] & 0xF6 == 0xF0:
        return "aac"
    if head[0] == 0x56 and head[1] & 0xE0 == 0xE0:
        return "loas"
    if head[0] == 0xFF and head[1] & 0xE0 == 0xE0 and head[1] & 0x06 and head[2] >> 4 not in {0, 15}:
        return "mp3"
    return None


def _tagged(after: bytes) -> str:
    """After an ID3 tag: packed AAC and AC-3 of HLS, else MPEG audio (which may begin with padding)."""
    kind = sniff_bytes(after)
    return kind if kind in {"aac", "ac3", "eac3", "flac"} else "mp3"


def _image(head: bytes) -> str | None:
    if head[:3] == b"\xff\xd8\xff":
        return "jpeg"
    if head[:8] == b"\x89PNG\r\n\x1a\n":
        return "png"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    if head[4:8] == b"ftyp" and head[8:12] in STILL_BRANDS:
        return "avif"
    return "gif" if head[:6] in {b"GIF87a", b"GIF89a"} else None


def _text(head: bytes) -> str | None:
    words = head.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace")
    if words.startswith("WEBVTT"):
        return "webvtt"
    if words.startswith(";FFMETADATA1"):
        return "ffmetadata"
    if words.lstrip().lower().startswith("[script info]"):
        return "ass"
    import re  # a third of what the gate before every ffmpeg takes to start

    return "srt" if re.match(SRT_CUE, words) else None


def _syncsafe(size: bytes) -> int:
    return sum((byte & 0x7F) << shift for byte, shift in zip(size, (21, 14, 7, 0), strict=True))
