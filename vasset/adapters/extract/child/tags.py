"""What a page says about its video, as the tags and chapters of a file. The names are ffmpeg's, the choice is yt-dlp's."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

from yt_dlp.utils import ISO639Utils

from vasset.adapters.extract.child.text import count, seconds, text

MAX_TAG = 20_000
MAX_CHAPTERS = 2_000
# Tag → the fields of the page that may fill it, the first one that is there.
FIELDS: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    (("title",), ("track", "title")),
    (("date",), ("upload_date",)),
    (("description", "synopsis"), ("description",)),
    (("purl", "comment"), ("webpage_url",)),
    (("track",), ("track_number",)),
    (("artist",), ("artist", "artists", "creator", "creators", "uploader", "uploader_id")),
    (("composer",), ("composer", "composers")),
    (("genre",), ("genre", "genres")),
    (("album",), ("album", "series")),
    (("album_artist",), ("album_artist", "album_artists")),
    (("disc",), ("disc_number",)),
    (("show",), ("series",)),
    (("season_number",), ("season_number",)),
    (("episode_id",), ("episode", "episode_id")),
    (("episode_sort",), ("episode_number",)),
)
# With none of these a page knows nothing that would be worth writing a finished file again for.
WORTH_WRITING = (
    "artist", "artists", "album", "track", "creator", "creators", "uploader", "description", "chapters", "thumbnails", "thumbnail", "series",
)  # fmt: skip


def tags(info: dict[str, Any]) -> dict[str, str]:
    found: dict[str, str] = {}
    for names, fields in FIELDS:
        value = next((info[field] for field in fields if info.get(field) not in (None, "", [])), None)
        words = ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else value
        if (written := _written(words)) is not None:
            found |= dict.fromkeys(names, written)
    return found


def are_worth_writing(info: dict[str, Any]) -> bool:
    """Whether the page of ``info`` says more than the title."""
    return any(info.get(name) for name in WORTH_WRITING)


def chapters(info: dict[str, Any]) -> list[tuple[float, float, str]]:
    """``(start, end, title)`` in order; what overlaps or lasts no time is left out."""
    end = seconds(info.get("duration"))
    given = [each for each in info.get("chapters") or () if isinstance(each, dict)][:MAX_CHAPTERS]
    starts = [seconds(each.get("start_time")) for each in given]
    found: list[tuple[float, float, str]] = []
    for number, chapter in enumerate(given):
        start = starts[number]
        stop = seconds(chapter.get("end_time")) or next(
            (each for each in starts[number + 1 :] if each is not None), end
        )
        if start is None or stop is None or stop <= start or (found and start < found[-1][1] - 0.001):
            continue
        found.append((start, stop, text(chapter.get("title")) or f"Chapter {number + 1}"))
    return found


def as_metadata(
    found: list[tuple[float, float, str]], cover: bytes | None = None, size: tuple[int, int] | None = None
) -> str:
    """ffmpeg's own text form. ``cover`` becomes the picture block of Ogg (xiph.org, FLAC ``METADATA_BLOCK_PICTURE``)."""
    lines = [";FFMETADATA1"]
    if cover is not None:
        lines.append("METADATA_BLOCK_PICTURE=" + _escaped(b64encode(_picture_block(cover, size or (0, 0))).decode()))
    for start, end, title in found:
        lines += ["[CHAPTER]", "TIMEBASE=1/1000", f"START={start * 1000:.0f}", f"END={end * 1000:.0f}"]
        lines.append(f"title={_escaped(title)}")
    return "\n".join(lines) + "\n"


def language(value: Any) -> str | None:
    """ISO 639-2, which is what containers hold, of whatever a site calls a language."""
    word = (text(value, limit=40) or "").split("-")[0].split("_")[0].lower()
    if not word.isalpha():
        return None
    return word if len(word) == 3 else ISO639Utils.short2long(word)


def _written(value: Any) -> str | None:
    """Line breaks are part of a description; NUL ends an argument."""
    if isinstance(value, float) and (whole := count(value)) is not None:
        value = whole
    if value is None:
        return None
    words = str(value).replace("\0", "").encode("utf-8", "replace").decode("utf-8")[:MAX_TAG].strip()
    return words or None


def _escaped(words: str) -> str:
    for mark in "\\=;#\n":
        words = words.replace(mark, f"\\{mark}")
    return words


def _picture_block(cover: bytes, size: tuple[int, int]) -> bytes:
    mime = b"image/png" if cover[:4] == b"\x89PNG" else b"image/jpeg"
    front, depth, colours = 3, 24, 0
    head = front.to_bytes(4, "big") + len(mime).to_bytes(4, "big") + mime + (0).to_bytes(4, "big")
    numbers = (*size, depth, colours, len(cover))
    return head + b"".join(number.to_bytes(4, "big") for number in numbers) + cover
