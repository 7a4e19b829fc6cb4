"""What a page offers, in one shape: extractors answer with formats, with a bare address, or with ids longer than anybody can send back.

Describing a page and fetching from it both look at formats through here, so that what ``/parse`` listed is what can be chosen.
"""

from __future__ import annotations

import hashlib
from email.message import Message
from pathlib import PurePosixPath
from typing import Any

from yt_dlp.utils import determine_ext, unsmuggle_url

from vasset.adapters.extract.addresses import SMUGGLED, is_well_formed
from vasset.adapters.extract.child.streams import FORMAT_KEYS
from vasset.adapters.extract.child.text import text

LONGEST_ID = 64
AUDIO_EXTENSIONS = frozenset(
    {"mp3", "m4a", "m4b", "aac", "opus", "ogg", "oga", "flac", "wav", "weba", "aiff", "amr", "wma"}
)
MEDIA_EXTENSIONS = AUDIO_EXTENSIONS | {
    "mp4",
    "webm",
    "mkv",
    "mov",
    "avi",
    "flv",
    "m4v",
    "mpg",
    "mpeg",
    "ts",
    "3gp",
    "wmv",
    "ogv",
}


def before_choice(info: dict[str, Any]) -> None:
    """Ids that can be sent back, and sound called sound, before yt-dlp chooses."""
    for form in info.get("formats") or [info]:
        if not isinstance(form, dict):
            continue
        _unpack(form)
        identifier = str(form.get("format_id") or "")
        if len(identifier) > LONGEST_ID or not identifier.isprintable():  # a joiner between letters is not
            form["format_id"] = f"{_printable(identifier)[:40]}-{hashlib.sha256(identifier.encode()).hexdigest()[:16]}"
        if form.get("vcodec") is None and form.get("url") and not form.get("height"):
            ext = form.get("ext") or determine_ext(form["url"])
            if ext in AUDIO_EXTENSIONS:
                form["vcodec"] = "none"


def _unpack(form: dict[str, Any]) -> None:
    """yt-dlp's generic extractor leaves notes to itself in the address of a video that JSON-LD names; to others it is no address."""
    address, mark, _ = str(form.get("url") or "").partition(f"#{SMUGGLED}=")
    if not mark:
        return
    try:
        told = unsmuggle_url(form["url"], {})[1]
    except (ValueError, LookupError):  # a page that writes such notes itself
        told = {}
    form["url"] = address
    if isinstance(told, dict) and is_well_formed(str(told.get("referer"))):
        form["http_headers"] = {"Referer": told["referer"]} | (form.get("http_headers") or {})


def _printable(identifier: str) -> str:
    return "".join(character for character in identifier if character.isprintable())


def after_choice(info: dict[str, Any]) -> None:
    """About 150 extractors answer a bare address: that is one format."""
    if info.get("formats") or not info.get("url") or info.get("_type", "video") != "video":
        return
    known = {key: info[key] for key in FORMAT_KEYS if info.get(key) is not None}
    info["formats"] = [{"format_id": "0", **known}]


def sent_name(disposition: str | None) -> str | None:
    """The title in a ``Content-Disposition`` (RFC 6266): its file name without folder and without a known ending."""
    if not disposition or "filename" not in disposition.lower():
        return None
    message = Message()
    message["Content-Disposition"] = disposition[:2_000].replace("\r", " ").replace("\n", " ")
    try:
        name = message.get_filename()
        if name is not None and not name.isascii():
            name = _repaired(name)
    except (ValueError, LookupError, UnicodeError):
        return None
    path = PurePosixPath(str(name or "").replace("\\", "/"))
    stem = path.stem if path.suffix.lower().removeprefix(".") in MEDIA_EXTENSIONS else path.name
    return text(stem)


def _repaired(name: str) -> str:
    """Servers send UTF-8 where the standard reads Latin-1."""
    try:
        return name.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return name
