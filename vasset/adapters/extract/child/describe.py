"""What is behind a URL: one video with its formats, or one page of a playlist's entries."""

from __future__ import annotations

from typing import Any

from vasset.adapters.extract.child.downloader import REFUSED, GuardedDownloader
from vasset.adapters.extract.child.failure import JobFailed, of_kind
from vasset.adapters.extract.child.job import Emit
from vasset.adapters.extract.child.live_status import is_live, read_page
from vasset.adapters.extract.child.options import MAX_FLAT_FORMATS, PAGE_SIZE, checked, page_options
from vasset.adapters.extract.child.qualities import resolution, shortlist
from vasset.adapters.extract.child.sizes import estimate
from vasset.adapters.extract.child.text import address, count, pixels, seconds, text

PLAYLISTS = frozenset({"playlist", "multi_video"})
ITEM_MARK = "#vasset-item="
UNREAD_PROTOCOLS = frozenset({"mhtml", "storyboard"})


def page_and_item(url: str) -> tuple[str, int | None]:
    """The page, and the number of the entry meant, where an entry has no address of its own."""
    page, mark, number = url.partition(ITEM_MARK)
    return (page, int(number)) if mark and number.isdigit() and 0 < int(number) < 100_000 else (url, None)


def readable(entries: Any) -> list[Any] | None:
    """The entries with their places kept: None stands for one that cannot be had. Raises its reason when that is all of them."""
    if entries is None:
        return None
    found = list(entries)
    refusals = [entry[REFUSED] for entry in found if isinstance(entry, dict) and REFUSED in entry]
    if refusals and len(refusals) == len(found):
        raise refusals[-1]
    return [None if isinstance(entry, dict) and REFUSED in entry else entry for entry in found]


def sent_title(downloader: GuardedDownloader, info: dict[str, Any]) -> dict[str, str]:
    """Behind a link to a file the server's own name for it says more than the link's last word."""
    if not info.get("direct"):
        return {}
    title = downloader.sent_names.get(str(info.get("url"))) or next(filter(None, downloader.sent_names.values()), None)
    return {"title": title} if title else {}


def describe(
    job: dict[str, Any], settings: dict[str, Any], emit: Emit, *, opened: type[GuardedDownloader] = GuardedDownloader
) -> dict[str, Any]:
    """A JSON object with the fields of ``MediaInfo``."""
    url, item = page_and_item(job["url"])
    options = page_options(job, settings)
    if item is not None:
        options |= checked({"extract_flat": False, "playlist_items": str(item)})
    with opened(options) as downloader:
        downloader.tolerates_entries = item is None
        info = read_page(downloader, url)
        if item is not None and isinstance(info, dict) and info.get("_type") in PLAYLISTS:
            info = next((entry for entry in info.get("entries") or () if isinstance(entry, dict)), None)
        if not isinstance(info, dict):
            raise JobFailed(of_kind("removed"))
        info["entries"] = readable(info.get("entries"))
        info = downloader.sanitize_info(info) | sent_title(downloader, info)
    described = _playlist(job, info) if info.get("_type") in PLAYLISTS else _single(info)
    return _common(job, info) | described


def _common(job: dict[str, Any], info: dict[str, Any]) -> dict[str, Any]:
    thumbnails = [address(each.get("url")) for each in info.get("thumbnails") or () if isinstance(each, dict)]
    return {
        "url": job["url"],
        "id": text(info.get("id"), limit=200) or "unknown",
        "title": text(info.get("title")) or text(info.get("id")) or "untitled",
        "site": text(info.get("extractor_key") or info.get("extractor"), limit=80) or "unknown",
        "thumbnail": address(info.get("thumbnail")) or next((each for each in reversed(thumbnails) if each), None),
        "uploader": text(info.get("uploader") or info.get("channel") or info.get("creator"), limit=200),
        "duration_seconds": seconds(info.get("duration")),
        "is_live": is_live(info),
    }


def _single(info: dict[str, Any]) -> dict[str, Any]:
    duration = seconds(info.get("duration"))
    formats = [form for form in info.get("formats") or () if form.get("protocol") not in UNREAD_PROTOCOLS]
    formats = [form for form in formats if (form.get("vcodec"), form.get("acodec")) != ("none", "none")]
    return {
        "kind": "single",
        "formats": [_format(form, duration) for form in formats[-MAX_FLAT_FORMATS:]],
        "qualities": shortlist(formats, duration),
    }


def _format(form: dict[str, Any], duration: float | None) -> dict[str, Any]:
    size, is_estimate = estimate(form, duration)
    return {
        "id": text(form.get("format_id"), limit=64) or "0",
        "ext": text(form.get("ext"), limit=12) or "unknown",
        "protocol": text(form.get("protocol"), limit=40) or "unknown",
        "height": pixels(form.get("height")),
        "width": pixels(form.get("width")),
        "fps": seconds(form.get("fps")),
        "video_codec": _codec(form.get("vcodec")),
        "audio_codec": _codec(form.get("acodec")),
        "size_bytes": size,
        "size_is_estimate": is_estimate and size is not None,
        "bitrate_kbps": seconds(form.get("tbr")),
        "language": text(form.get("language"), limit=40),
        "note": text(form.get("format_note"), limit=120) or (f"{r}p" if (r := resolution(form)) else None),
    }


def _codec(value: Any) -> str | None:
    return None if value == "none" else text(value, limit=60)


def _playlist(job: dict[str, Any], info: dict[str, Any]) -> dict[str, Any]:
    first = (max(1, int(job.get("playlist_page") or 1)) - 1) * PAGE_SIZE + 1
    entries = list(info.get("entries") or ())[:PAGE_SIZE]
    return {
        "kind": "playlist",
        "entries": [
            _entry(job["url"], number, entry) for number, entry in enumerate(entries, first) if isinstance(entry, dict)
        ],
        "entry_count": count(info.get("playlist_count")),
    }


def _entry(page: str, number: int, entry: dict[str, Any]) -> dict[str, Any]:
    """An entry without an address of its own (three players on one page) is the page's address and its number."""
    own = address(entry.get("url")) if str(entry.get("_type")).startswith("url") else address(entry.get("webpage_url"))
    thumbnails = [address(each.get("url")) for each in entry.get("thumbnails") or () if isinstance(each, dict)]
    return {
        "url": own if own is not None and own != page else f"{page}{ITEM_MARK}{number}",
        "title": text(entry.get("title")),
        "duration_seconds": seconds(entry.get("duration")),
        "thumbnail": address(entry.get("thumbnail")) or next((each for each in reversed(thumbnails) if each), None),
    }
