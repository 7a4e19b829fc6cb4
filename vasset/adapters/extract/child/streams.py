"""yt-dlp's chosen formats → what the engine fetches, under the names phase two expects."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import Any
from urllib.parse import urljoin

from vasset.adapters.extract.child.sizes import estimate
from vasset.adapters.extract.child.text import count, seconds, text

BASE_NAME = "media"
CODEC_CHARACTERS = 200
MOST_COOKIES = 500
SAFE_EXT = re.compile(r"[a-z0-9]{1,8}\Z")
PLAIN = frozenset({"http", "https"})
HLS = frozenset({"m3u8", "m3u8_native"})
LEAST_COVERED = 0.9


def requested(info: dict[str, Any]) -> list[dict[str, Any]]:
    """The formats to fetch, each a dictionary of its own: one or, for separate video and audio, two."""
    several = info.get("requested_formats")
    if several:
        return [dict(form) for form in several]
    single: dict[str, Any] = next((form for form in info.get("requested_downloads") or () if form.get("url")), {})
    known = {key: info.get(key) for key in FORMAT_KEYS} | {key: single[key] for key in FORMAT_KEYS if single.get(key)}
    # A key that is present and None is not the same to yt-dlp's downloaders as one that is missing.
    return [{key: value for key, value in known.items() if value is not None}]


FORMAT_KEYS = (
    "format_id", "url", "ext", "protocol", "http_headers", "cookies", "fragments", "fragment_base_url", "filesize", "filesize_approx",
    "tbr", "vbr", "abr", "vcodec", "acodec", "container", "manifest_url", "downloader_options", "impersonate", "hls_aes",
    "extra_param_to_segment_url", "extra_param_to_key_url", "is_dash_periods", "height", "width", "fps", "language", "available_at",
)  # fmt: skip


def tame(form: dict[str, Any], taken: set[str]) -> dict[str, Any]:
    """Make id and extension safe to stand in a file name; ids are unique within one extraction."""
    safe = safe_id(form)
    while safe in taken:
        safe += "x"
    taken.add(safe)
    ext = str(form.get("ext") or "").lower()
    return {
        **form,
        "format_id": safe,
        "named": str(form.get("format_id") or ""),
        "ext": ext if SAFE_EXT.match(ext) else "bin",
    }


def safe_id(form: dict[str, Any]) -> str:
    return re.sub(r"[^A-Za-z0-9_-]", "_", str(form.get("format_id") or "0"))[:40]


def codecs_of(form: dict[str, Any]) -> str | None:
    """Both codecs in one word; None while the site tells neither."""
    if form.get("vcodec") is None and form.get("acodec") is None:
        return None
    return f"{form.get('vcodec')}+{form.get('acodec')}"[:CODEC_CHARACTERS]


def file_name(form: dict[str, Any], *, merged: bool) -> str:
    """The name yt-dlp looks for: ``media.f137.mp4`` before a merge, ``media.mp4`` alone."""
    return f"{BASE_NAME}.f{form['format_id']}.{form['ext']}" if merged else f"{BASE_NAME}.{form['ext']}"


def cookies_in(jar: Iterable[Any], hosts: Collection[str] = ()) -> list[dict[str, Any]]:
    """The whole jar, as JSON objects with the fields of ``Cookie``: which host a segment will be on, only its playlist knows.

    The engine sends each where it belongs, as yt-dlp's own downloaders do. Of more than it takes those of ``hosts`` come first.
    """
    found = []
    for cookie in jar:
        name, value = (cookie.name, cookie.value) if cookie.value is not None else ("", cookie.name)
        # ``http.cookiejar`` writes a host without a dot as ``host.local``.
        host = cookie.domain.removesuffix(".local")
        found.append(
            {
                "name": name,
                "value": value,
                "domain": cookie.domain if "." in host else host,
                "path": cookie.path,
                "secure": bool(cookie.secure),
                "expires": cookie.expires,
            }
        )
    if len(found) > MOST_COOKIES:  # a browser's whole jar
        found.sort(
            key=lambda cookie: not any(f".{host}".endswith(f".{cookie['domain'].lstrip('.')}") for host in hosts)
        )
    return found[:MOST_COOKIES]


def stream(
    form: dict[str, Any],
    *,
    merged: bool,
    cookies: list[dict[str, Any]],
    duration: float | None,
    is_direct: bool = False,
) -> dict[str, Any]:
    """A JSON object with the fields of ``Stream``. ``is_direct`` is an address that no extractor has anything to add to."""
    kind, fragments = _kind(form)
    if _is_better_read_here(form, fragments, duration, is_direct=is_direct):
        kind, fragments = "dash", []
    size, _ = estimate({"filesize": form.get("filesize")}, duration)
    options = form.get("downloader_options") or {}
    return {
        "format_id": form["format_id"],
        "kind": kind,
        "url": form["manifest_url"] if kind == "dash" else form["url"],
        "file_name": file_name(form, merged=merged),
        "headers": {str(k): str(v) for k, v in (form.get("http_headers") or {}).items() if _sendable(k, v)},
        "cookies": cookies,
        "fragments": fragments,
        "size_bytes": size,
        "max_range_bytes": count(options.get("http_chunk_size")) or None,
        "available_at": count(form.get("available_at")),
        "codecs": codecs_of(form),
        "language": text(form.get("language"), limit=40),
        "representation": str(form.get("named") or form["format_id"]) if kind == "dash" else None,
    }


def _is_better_read_here(
    form: dict[str, Any], fragments: list[dict[str, Any]], duration: float | None, *, is_direct: bool
) -> bool:
    """yt-dlp's reading of a manifest loses open timelines (``S@r="-1"``) and inherited lists; the engine's does not.

    Where an extractor added something to the fragments' addresses they are believed as long as they cover the film.
    """
    manifest = str(form.get("manifest_url") or "")
    protocol = str(form.get("protocol"))
    if form.get("impersonate") or not manifest.lower().startswith(("http://", "https://")):
        return False
    if protocol in PLAIN:
        return form["url"] == manifest or (is_direct and str(form.get("container") or "").endswith("_dash"))
    if protocol != "http_dash_segments":
        return False
    covered = sum(each["duration_seconds"] or 0.0 for each in fragments)
    return is_direct or bool(duration and 0.0 < covered < duration * LEAST_COVERED)


def _kind(form: dict[str, Any]) -> tuple[str, list[dict[str, Any]]]:
    """Native is what needs yt-dlp itself: a browser's fingerprint, keys or parameters the site computes, odd protocols."""
    protocol = str(form.get("protocol"))
    odd = ("impersonate", "hls_aes", "extra_param_to_segment_url", "extra_param_to_key_url")
    if any(form.get(name) for name in odd):
        return "native", []
    if protocol in PLAIN:
        return "file", []
    if protocol in HLS:
        return "hls", []
    if protocol == "http_dash_segments" and (fragments := _fragments(form)):
        return "fragments", fragments
    return "native", []


def _fragments(form: dict[str, Any]) -> list[dict[str, Any]]:
    listed = form.get("fragments")
    if not isinstance(listed, list):
        return []
    base = str(form.get("fragment_base_url") or form["url"])
    found = []
    for each in listed:
        url = each.get("url") or (urljoin(base, each["path"]) if each.get("path") else None)
        if not isinstance(url, str) or not url.lower().startswith(("http://", "https://")):
            return []
        found.append({"url": url, "duration_seconds": seconds(each.get("duration"))})
    return found


def _sendable(name: Any, value: Any) -> bool:
    """Hop-by-hop headers and encodings are the engine's business: a range of a compressed body is no range of the file."""
    if any(ord(c) < 32 or ord(c) > 255 for c in f"{name}{value}"):
        return False
    return str(name).lower() not in {"accept-encoding", "host", "connection", "content-length", "range", "cookie"}
