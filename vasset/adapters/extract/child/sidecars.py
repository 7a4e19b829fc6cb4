"""Subtitles and cover of a video: fetched before the file is made, bounded, and never a reason to fail. What is missing is said."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

from yt_dlp.downloader.common import FileDownloader
from yt_dlp.networking import Request

from vasset.adapters.extract.child.downloader import GuardedDownloader
from vasset.adapters.extract.child.live_playlist import parse
from vasset.adapters.extract.child.recipe import Subtitle
from vasset.adapters.extract.child.streams import HLS, PLAIN
from vasset.adapters.extract.child.tags import language as spoken
from vasset.adapters.extract.child.text import address, text
from vasset.adapters.extract.sniff import sniff_bytes

MAX_LANGUAGES = 3
MAX_SUBTITLE_BYTES = 5 * 2**20
MAX_SUBTITLE_SEGMENTS = 4_000
MAX_COVER_BYTES = 10 * 2**20
SUBTITLE_KINDS = {"vtt": "webvtt", "srt": "srt", "ass": "ass"}
COVER_EXTENSIONS = {"jpeg": "jpg", "png": "png", "webp": "webp", "gif": "gif", "avif": "avif"}
TRACK_FIELDS = ("ext", "url", "name", "protocol", "impersonate", "data", "http_headers")
DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS})


class Unusable(Exception):
    """The message says why, after a colon."""


def choose_subtitles(info: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """At most three written (not machine-made) tracks: the video's own language, English, then as the site lists them."""
    offered = {str(lang): list(tracks or ()) for lang, tracks in (info.get("subtitles") or {}).items()}
    own = str(info.get("language") or "")
    order = sorted(offered, key=lambda lang: (not (own and lang.startswith(own)), not lang.startswith("en")))
    chosen: dict[str, dict[str, Any]] = {}
    for language in order:
        track = next((each for kind in SUBTITLE_KINDS for each in offered[language] if _usable(each, kind)), None)
        if track is not None and language.replace("-", "").replace("_", "").isalnum():
            chosen[language[:35]] = {name: track[name] for name in TRACK_FIELDS if track.get(name) is not None}
        if len(chosen) == MAX_LANGUAGES:
            break
    return chosen


def _usable(track: dict[str, Any], kind: str) -> bool:
    """By address, as a playlist of pieces, or written out in the page."""
    if track.get("ext") != kind:
        return False
    if isinstance(track.get("data"), str):
        return len(track["data"]) <= MAX_SUBTITLE_BYTES
    return address(track.get("url")) is not None and track.get("protocol") in {None, *PLAIN, *HLS}


def fetch_subtitles(
    downloader: GuardedDownloader, info: dict[str, Any], folder: Path, remarks: list[str]
) -> tuple[Subtitle, ...]:
    """The tracks that arrived, as files in ``folder``."""
    arrived: list[Subtitle] = []
    for language, track in (info.get("requested_subtitles") or {}).items():
        path = folder / f"subtitle{len(arrived)}.{track['ext']}"
        try:
            body = _as_utf8(_subtitle(downloader, track, info, path))
            kind = sniff_bytes(body[:4096])
            if kind != SUBTITLE_KINDS.get(track["ext"]):
                raise Unusable("what the site sent are no subtitles")
            path.write_bytes(body)
        except Exception as error:  # subtitles are not worth a download, whatever went wrong with them
            _raise_if_disk(error)
            remarks.append(f"the subtitles in {language} were left out: {_why(error)}")
            continue
        codec = "subrip" if kind == "srt" else str(kind)
        arrived.append(Subtitle(path, codec, spoken(language), text(track.get("name"), limit=100)))
    return tuple(arrived)


def _subtitle(downloader: GuardedDownloader, track: dict[str, Any], info: dict[str, Any], path: Path) -> bytes:
    if isinstance(track.get("data"), str):
        return str(track["data"]).encode("utf-8", "replace")
    body = _body(downloader, track, info, MAX_SUBTITLE_BYTES)
    if track.get("protocol") not in HLS:
        return body
    return _joined(downloader, track, body, path)


def _joined(downloader: GuardedDownloader, track: dict[str, Any], playlist: bytes, path: Path) -> bytes:
    """yt-dlp joins the pieces of WebVTT: cues that several pieces repeat, and each piece's own clock, are its business."""
    window = parse(playlist.decode("utf-8", "replace"), track["url"])
    if not window.has_ended or len(window.segments) > MAX_SUBTITLE_SEGMENTS:
        raise Unusable("their playlist has no end")
    pieces = path.with_suffix(".joined.vtt")
    downloader.fetches = True
    try:
        succeeded, _ = downloader.dl(str(pieces), {**track, "protocol": "m3u8_native", "ext": "vtt"}, subtitle=True)
    finally:
        downloader.fetches = False
    # yt-dlp answers None for joined WebVTT; a piece that is missing it raises.
    if succeeded is False or pieces.stat().st_size > MAX_SUBTITLE_BYTES:
        raise Unusable("their pieces could not be fetched")
    return pieces.read_bytes()


def fetch_covers(downloader: GuardedDownloader, info: dict[str, Any], folder: Path, remarks: list[str]) -> list[Path]:
    """The best thumbnail that arrived and is a picture, as a file in ``folder``; empty when there is none."""
    offered = [thumbnail for thumbnail in info.get("thumbnails") or () if address(thumbnail.get("url"))]
    why = ""
    for thumbnail in reversed(offered):
        try:
            body = _body(downloader, thumbnail, info, MAX_COVER_BYTES)
            ext = COVER_EXTENSIONS.get(sniff_bytes(body[:4096]) or "")
            if ext is None:
                raise Unusable("what the site sent is no picture")
            path = folder / f"cover.{ext}"
            path.write_bytes(body)
        except Exception as error:
            _raise_if_disk(error)
            why = _why(error)
            continue
        return [path]
    if offered:
        remarks.append(f"the cover was left out: {why}")
    return []


def _body(downloader: GuardedDownloader, track: dict[str, Any], info: dict[str, Any], limit: int) -> bytes:
    headers = {str(name): str(value) for name, value in (track.get("http_headers") or {}).items()}
    browser = FileDownloader(downloader, {})._get_impersonate_target(track)
    request = Request(
        address(track["url"]),
        headers={"Referer": str(info.get("webpage_url") or "")} | headers,
        extensions={} if browser is None else {"impersonate": browser},
    )
    with downloader.urlopen(request) as response:
        body: bytes = response.read(limit + 1)
    if len(body) > limit:
        raise Unusable("it is larger than it may be")
    if not body:
        raise Unusable("the site sent nothing")
    return body


def _as_utf8(body: bytes) -> bytes:
    """Old subtitles are Windows' Western European or UTF-16; ffmpeg takes UTF-8 only."""
    if body[:2] in {b"\xff\xfe", b"\xfe\xff"}:
        return body.decode("utf-16", "replace").encode()
    try:
        return body.decode("utf-8-sig").encode()
    except UnicodeDecodeError:
        return body.decode("cp1252", "replace").encode()


def _why(error: Exception) -> str:
    status = getattr(error, "status", None)
    if isinstance(error, Unusable):
        return str(error)
    return f"the site answered {status}" if isinstance(status, int) else "it could not be fetched"


def _raise_if_disk(error: Exception) -> None:
    if isinstance(error, OSError) and error.errno in DISK:
        raise error
