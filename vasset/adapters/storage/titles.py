"""Titles and extensions made fit to be file names, on every system the file may be copied to.

Rules: NFC, no control, bidirectional or unassigned characters, no separators in any script, no leading dot,
dash or tilde, no trailing dot or space, no Windows device name, at most 180 bytes of UTF-8, never cut inside a character people see.
"""

from __future__ import annotations

import unicodedata

MAX_TITLE_BYTES = 180
FALLBACK_TITLE = "video"
FALLBACK_EXT = "bin"
EXTENSIONS = frozenset(
    [
        "mp4",
        "m4v",
        "mov",
        "mkv",
        "webm",
        "avi",
        "flv",
        "ts",
        "mts",
        "3gp",
        "ogv",
        "mpg",
        "mpeg",
        "wmv",
        "mp3",
        "m4a",
        "aac",
        "ac3",
        "opus",
        "ogg",
        "oga",
        "flac",
        "wav",
        "weba",
        "mka",
        *(
            "eac3",
            "amr",
            "caf",
            "wv",
            "ape",
            "mp2",
            "m2ts",
            "m2t",
            "vob",
            "asf",
            "f4v",
            "mxf",
            "rm",
            "rmvb",
            "dv",
            "nut",
        ),
        "aiff",
        "wma",
    ]
)

_SEPARATORS = frozenset('/\\:*?"<>|' + "\u2044\u2215\u29f8\u29f9\uff0f\uff3c\ufe68")
_DOTS = ".\u2024\uff0e\u3002\uff61\ufe52"
_DASHES = "-\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe63\uff0d"
_JOINERS = frozenset("\u200c\u200d")  # shape emoji and Indic or Persian words; every other format character is dropped
_DROPPED_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})
_RESERVED = frozenset(
    ["con", "prn", "aux", "nul", "conin$", "conout$", "clock$"]
    + [f"{port}{digit}" for port in ("com", "lpt") for digit in "0123456789¹²³"]
)


def safe_title(title: str, *, max_bytes: int = MAX_TITLE_BYTES) -> str:
    """``title`` as a file name without extension; never empty. Idempotent."""
    text = unicodedata.normalize("NFC", "".join(_kept(character) for character in title))
    text = " ".join(text.split())
    text = _trimmed(text)
    text = _trimmed(_shortened(text, max_bytes))
    if text.split(".")[0].strip().casefold() in _RESERVED:
        text = _shortened("_" + text, max_bytes)
    return text or FALLBACK_TITLE


def safe_ext(ext: str) -> str:
    """``ext`` when it names audio or video; ``bin`` otherwise, so that nothing published can be run or rendered."""
    wanted = ext.lower().removeprefix(".")
    return wanted if wanted in EXTENSIONS else FALLBACK_EXT


def _kept(character: str) -> str:
    if character in _SEPARATORS:
        return "_"
    if character in _JOINERS:
        return character
    category = unicodedata.category(character)
    if category in {"Zl", "Zp", "Zs"} or character in "\t\n\r\v\f":
        return " "
    return "" if category in _DROPPED_CATEGORIES else character


def _trimmed(text: str) -> str:
    return text.lstrip(" ~\u200c\u200d" + _DOTS + _DASHES).rstrip(" \u200c\u200d" + _DOTS)


def _shortened(text: str, max_bytes: int) -> str:
    if len(text.encode()) <= max_bytes:
        return text
    kept, size = [], 0
    for cluster in _clusters(text):
        size += len(cluster.encode())
        if size > max_bytes:
            break
        kept.append(cluster)
    return "".join(kept)


def _clusters(text: str) -> list[str]:
    """User-perceived characters, near enough to UAX #29: marks, joiners, emoji modifiers, flags and Hangul stay together."""
    clusters: list[str] = []
    flags = 0
    for character in text:
        is_flag = "\U0001f1e6" <= character <= "\U0001f1ff"
        flags = flags + 1 if is_flag else 0
        joins = bool(clusters) and (
            unicodedata.category(character) in {"Mn", "Mc", "Me"}
            or character in _JOINERS
            or "\U0001f3fb" <= character <= "\U0001f3ff"
            or clusters[-1].endswith("\u200d")
            or "\u1160" <= character <= "\u11ff"
            or (is_flag and flags % 2 == 0)
        )
        if joins:
            clusters[-1] += character
        else:
            clusters.append(character)
    return clusters
