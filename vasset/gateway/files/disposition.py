"""``Content-Disposition`` by RFC 6266 and the media type that goes with an extension from our own list."""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import quote

MEDIA_TYPES = {
    "mp4": "video/mp4",
    "m4v": "video/mp4",
    "mkv": "video/x-matroska",
    "webm": "video/webm",
    "mov": "video/quicktime",
    "ts": "video/mp2t",
    "flv": "video/x-flv",
    "avi": "video/x-msvideo",
    "3gp": "video/3gpp",
    "mp3": "audio/mpeg",
    "m4a": "audio/mp4",
    "aac": "audio/aac",
    "opus": "audio/ogg",
    "ogg": "audio/ogg",
    "oga": "audio/ogg",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "mka": "audio/x-matroska",
}
UNKNOWN = "application/octet-stream"
JOINERS = "\u200c\u200d"
UNSAFE = re.compile(r"[^A-Za-z0-9 ._()\[\]+,@=-]")
EXTENSION = re.compile(r"\.[A-Za-z0-9]{1,5}\Z")
ATTR_CHARS = "!#$&+-.^_`|~"


def media_type_of(file_name: str) -> str:
    """Never ``text/html`` or ``image/svg+xml``, whatever the file is called: what is not on the list is octets."""
    return MEDIA_TYPES.get(file_name.rpartition(".")[2].lower(), UNKNOWN)


def may_play_inline(media_type: str) -> bool:
    return media_type != UNKNOWN


def content_disposition(file_name: str, *, inline: bool, number: int | None = None) -> str:
    """Both forms of the name: ``filename`` in harmless ASCII, ``filename*`` in UTF-8 when that lost something.

    A name that ASCII has no letter for is ``download-NUMBER`` with its extension, for clients that read the first form only.
    """
    name = _one_line(file_name) or "download"
    kind = "inline" if inline else "attachment"
    ascii_name = _in_ascii(name) or _numbered(name, number)
    header = f'{kind}; filename="{ascii_name}"'
    return header if ascii_name == name else f"{header}; filename*=UTF-8''{quote(name, safe=ATTR_CHARS)}"


def _in_ascii(name: str) -> str:
    """Empty when nothing of the name itself is left there."""
    text = UNSAFE.sub("_", unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode("ascii"))
    stem = text.rpartition(".")[0] if "." in text else text
    return text.lstrip(". ").rstrip(" ") if any(map(str.isalnum, stem)) else ""


def _numbered(name: str, number: int | None) -> str:
    stem = "download" if number is None else f"download-{number}"
    extension = EXTENSION.search(name)
    return stem + (extension[0] if extension else "")


def _one_line(name: str) -> str:
    """Without what splits headers, reverses text or names folders; lone surrogates become a question mark. Joiners are letters."""
    name = name.encode("utf-8", "replace").decode("utf-8")
    base = re.split(r"[/\\]", name)[-1]
    return "".join(c for c in base if c in JOINERS or unicodedata.category(c) not in {"Cc", "Cf", "Zl", "Zp"}).strip()
