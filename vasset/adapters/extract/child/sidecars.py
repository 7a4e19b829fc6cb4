"""Subtitles and cover of a video: fetched before post-processing, bounded, and never a reason to fail."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from yt_dlp.networking import Request

from vasset.adapters.extract.child.downloader import GuardedDownloader
from vasset.adapters.extract.child.text import address
from vasset.adapters.extract.sniff import sniff_bytes

MAX_LANGUAGES = 3
MAX_SUBTITLE_BYTES = 5 * 2**20
MAX_COVER_BYTES = 10 * 2**20
SUBTITLE_KINDS = {"vtt": "webvtt", "srt": "srt", "ass": "ass"}
COVER_EXTENSIONS = {"jpeg": "jpg", "png": "png", "webp": "webp"}


def choose_subtitles(info: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """At most three written (not machine-made) tracks: the video's own language, English, then as the site lists them."""
    offered = {str(lang): list(tracks or ()) for lang, tracks in (info.get("subtitles") or {}).items()}
    own = str(info.get("language") or "")
    order = sorted(offered, key=lambda lang: (not (own and lang.startswith(own)), not lang.startswith("en")))
    chosen: dict[str, dict[str, Any]] = {}
    for language in order:
        track = next((each for kind in SUBTITLE_KINDS for each in offered[language] if _usable(each, kind)), None)
        if track is not None and language.replace("-", "").replace("_", "").isalnum():
            chosen[language[:35]] = {"ext": track["ext"], "url": track["url"], "name": track.get("name")}
        if len(chosen) == MAX_LANGUAGES:
            break
    return chosen


def _usable(track: dict[str, Any], kind: str) -> bool:
    return track.get("ext") == kind and address(track.get("url")) is not None and not track.get("protocol")


def fetch_subtitles(downloader: GuardedDownloader, info: dict[str, Any], folder: Path) -> None:
    """Leave only the tracks that arrived, where yt-dlp finds them: ``media.en.vtt``."""
    arrived: dict[str, Any] = {}
    for language, track in (info.get("requested_subtitles") or {}).items():
        path = folder / f"media.{language}.{track['ext']}"
        body = _body(downloader, track["url"], info, MAX_SUBTITLE_BYTES)
        if body is not None and sniff_bytes(body[:4096]) == SUBTITLE_KINDS.get(track["ext"]):
            path.write_bytes(body)
            arrived[language] = track | {"filepath": str(path)}
    info["requested_subtitles"] = arrived or None


def fetch_cover(downloader: GuardedDownloader, info: dict[str, Any], folder: Path) -> None:
    """Leave the one best thumbnail that arrived, as a picture file, or none."""
    for thumbnail in reversed(info.get("thumbnails") or ()):
        url = address(thumbnail.get("url"))
        body = _body(downloader, url, info, MAX_COVER_BYTES) if url else None
        ext = COVER_EXTENSIONS.get(sniff_bytes(body[:4096]) or "") if body else None
        if body is not None and ext is not None:
            path = folder / f"media.{ext}"
            path.write_bytes(body)
            info["thumbnails"] = [{"id": "0", "url": url, "ext": ext, "filepath": str(path)}]
            return
    info["thumbnails"] = []


def _body(downloader: GuardedDownloader, url: str, info: dict[str, Any], limit: int) -> bytes | None:
    try:
        with downloader.urlopen(Request(url, headers={"Referer": str(info.get("webpage_url") or "")})) as response:
            body: bytes = response.read(limit + 1)
    except Exception as error:  # a cover is not worth a download, whatever went wrong with it
        downloader.report_warning(f"left out a subtitle or cover: {type(error).__name__}")
        return None
    return body if len(body) <= limit else None
