"""yt-dlp's own downloaders, for what the engine does not speak: behind the guard, into the names phase two expects."""

from __future__ import annotations

import contextlib
import json
import os
import time
from pathlib import Path
from typing import Any

from yt_dlp.networking import Request

from vasset.adapters.extract.child.downloader import GuardedDownloader
from vasset.adapters.extract.child.extract import INFO_FILE
from vasset.adapters.extract.child.failure import Failure, JobFailed
from vasset.adapters.extract.child.job import Emit
from vasset.adapters.extract.child.live_playlist import NotPlayable, parse
from vasset.adapters.extract.child.options import base_options, checked
from vasset.adapters.extract.child.streams import HLS, file_name

EVENT_SECONDS = 0.25
MAX_PLAYLIST_BYTES = 8 * 2**20
LIVE = "live"
LOST = Failure("transfer", "The site's fragments could not be fetched; the download is tried again.", retryable=True)


def download(job: dict[str, Any], settings: dict[str, Any], emit: Emit) -> dict[str, Any]:
    """Fetch the streams whose file names ``job["streams"]`` lists; a stream that is complete already is left alone."""
    workspace = Path(job["workspace"])
    info = json.loads((workspace / INFO_FILE).read_text(encoding="ascii"))
    wanted = formats_by_name(info, job["streams"])
    meter = _Meter(emit, len(job["streams"]))
    options = base_options(job, settings) | checked(
        {
            "ffmpeg_location": settings["programs"],
            "hls_prefer_native": True,
            "continuedl": True,
            "overwrites": False,
            "fragment_retries": 5,
            "skip_unavailable_fragments": False,
            "concurrent_fragment_downloads": 4,
            "progress_hooks": [meter.observe],
        }
    )
    os.chdir(workspace)
    try:
        with GuardedDownloader(options) as downloader:
            downloader.fetches = True
            downloader.take_cookies(job)
            for name, form in wanted.items():
                refuse_live(downloader, form)
                downloader.carry_cookies(form)
                part = {key: value for key, value in info.items() if key != "requested_formats"} | form
                succeeded, _ = downloader.dl(str(workspace / name), part)
                if not succeeded or not (workspace / name).is_file():
                    raise JobFailed(LOST)
                meter.next()
    finally:
        os.chdir("/")
    return {"downloaded_bytes": meter.done}


def formats_by_name(info: dict[str, Any], names: list[str]) -> dict[str, dict[str, Any]]:
    """The formats of the streams that are called ``names``."""
    formats = info.get("requested_formats") or [info]
    known = {file_name(form, merged=len(formats) > 1): form for form in formats}
    if unknown := set(names) - known.keys():
        raise JobFailed(Failure("postprocess", f"{len(unknown)} streams are not part of this extraction."))
    return {name: known[name] for name in names}


def refuse_live(downloader: GuardedDownloader, form: dict[str, Any]) -> None:
    """yt-dlp's own HLS downloader would take one window of a live stream for the whole of it."""
    if form.get("protocol") not in HLS:
        return
    headers = {str(name): str(value) for name, value in (form.get("http_headers") or {}).items()}
    with downloader.urlopen(Request(form["url"], headers=headers)) as response:
        text = response.read(MAX_PLAYLIST_BYTES).decode("utf-8", "replace")
    with contextlib.suppress(NotPlayable):
        if not parse(text, form["url"]).has_ended:
            raise JobFailed(Failure("transfer", "The site streams this live; it is recorded instead.", LIVE))


class _Meter:
    """Bytes over all streams of the job, at most four times a second."""

    def __init__(self, emit: Emit, streams: int) -> None:
        self._emit = emit
        self._streams = streams
        self._current = (0, None)
        self._last = 0.0
        self.done = 0

    def observe(self, status: dict[str, Any]) -> None:
        downloaded = int(status.get("downloaded_bytes") or 0)
        total = status.get("total_bytes") or status.get("total_bytes_estimate")
        self._current = (downloaded, total)
        if time.monotonic() - self._last >= EVENT_SECONDS:
            self._last = time.monotonic()
            known = self.done + int(total) if total and self._streams == 1 else None
            speed = float(status.get("speed") or 0.0)
            self._emit({"event": "progress", "downloaded": self.done + downloaded, "total": known, "speed": speed})

    def next(self) -> None:
        self.done += self._current[0]
        self._streams -= 1
        self._current = (0, None)
