"""The yt-dlp options this product ever sets, by name: nothing a user sends becomes an option, a template or an expression."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

from vasset.adapters.extract.child.log import StderrLog

PAGE_SIZE = 50
MAX_ADDRESS = 8_192
PARTS = re.compile(r"https?://(?:www\.|m\.)?bilibili\.com/video/", re.IGNORECASE)
MAX_FLAT_FORMATS = 400
ALLOWED_OPTIONS = frozenset(
    {
        "allow_unplayable_formats", "allowed_extractors", "cachedir", "check_formats", "color", "concurrent_fragment_downloads",
        "continuedl", "default_search", "enable_file_urls", "extract_flat", "extractor_retries", "ffmpeg_location", "fixup",
        "format", "format_sort", "fragment_retries", "hls_prefer_native", "ignoreerrors", "js_runtimes", "keepvideo",
        "lazy_playlist", "logger", "max_filesize", "merge_output_format", "noplaylist", "noprogress", "outtmpl", "overwrites",
        "paths", "playlist_items", "postprocessors", "progress_hooks", "proxy", "quiet", "remote_components", "retries",
        "skip_unavailable_fragments", "socket_timeout", "updatetime", "usenetrc", "writethumbnail",
    }
)  # fmt: skip


class OptionRefused(Exception):
    """An option outside the allow-list; a defect of ours, never a user's doing."""


def checked(options: dict[str, Any]) -> dict[str, Any]:
    """``options`` unchanged, if every name is on the list: no exec, netrc command, link file, external downloader, cookies file."""
    if unknown := sorted(options.keys() - ALLOWED_OPTIONS):
        raise OptionRefused(f"yt-dlp options {', '.join(unknown)} are not on the allow-list")
    return options


def _has_parts(url: str) -> bool:
    """Bilibili shows several films under one address and calls the others a playlist; they are entries, not silently the first."""
    found = PARTS.match(url[:MAX_ADDRESS])
    return found is not None and "p" not in parse_qs(urlsplit(url).query)


def base_options(job: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    """What every run shares. ``proxy`` is always the guard: there is no run without it."""
    if not str(job.get("proxy") or "").startswith("http://"):
        raise OptionRefused("a child never runs without the guard's proxy")
    deno = settings.get("deno")
    return checked(
        {
            "proxy": job["proxy"],
            "quiet": True,
            "noprogress": True,
            "color": "never",
            "logger": StderrLog(job.get("task_id")),
            "cachedir": False,
            "usenetrc": False,
            "enable_file_urls": False,
            "default_search": "error",
            "socket_timeout": 20,
            "retries": 2,
            "extractor_retries": 1,
            "ignoreerrors": False,
            "updatetime": False,
            "allow_unplayable_formats": False,
            "js_runtimes": {"deno": {"path": deno}} if deno else {},
            "remote_components": [],
            "noplaylist": not _has_parts(str(job.get("url") or "")),
        }
    )


def page_options(job: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    """For reading one page of a site: playlists flat, one page of entries, nothing else of them."""
    first = (max(1, int(job.get("playlist_page") or 1)) - 1) * PAGE_SIZE + 1
    return base_options(job, settings) | checked(
        {
            "extract_flat": "in_playlist",
            "lazy_playlist": True,
            "playlist_items": f"{first}-{first + PAGE_SIZE - 1}",
            "check_formats": None,
        }
    )
