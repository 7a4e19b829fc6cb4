"""The ``Extractor`` port over the pool of children."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from vasset.adapters.extract import answers
from vasset.adapters.extract.addresses import checked_url
from vasset.adapters.extract.child.recording import ask_to_finish
from vasset.adapters.extract.egress import Egress
from vasset.adapters.extract.length import length_of
from vasset.adapters.extract.pool import ChildPool, Lane
from vasset.adapters.extract.programs import MISSING_FFMPEG
from vasset.adapters.extract.sniff import MEDIA, sniff
from vasset.domain.download import Phase
from vasset.domain.errors import InvalidInput, PostprocessFailed
from vasset.domain.media import Extraction, MediaInfo, ProcessedMedia, is_quality
from vasset.domain.ports import ExtractionRequest, TransferSnapshot

PAGE_BYTES = 256 * 2**20
SIDECAR_BYTES = 64 * 2**20
RECORDED_SHARE = 0.9  # the file that is made of a recording has to fit the same bound
LONGEST_TRANSFER_SECONDS = 86_400.0  # of a credential; whoever runs the task bounds it closer
ENDING_SECONDS = 120.0  # a recording ends itself; this is for one that does not
KNOWN_BY = ("format_id", "file_name", "url", "size_bytes", "codecs", "language")
PHASES = {"merging": Phase.MERGING, "postprocessing": Phase.POSTPROCESSING}


@dataclass(frozen=True, slots=True)
class ExtractorBounds:
    page_timeout_seconds: float = 60.0
    file_timeout_seconds: float = 1_800.0
    max_file_bytes: int = 64 * 2**30


class ChildExtractor:
    """``await start()`` loads yt-dlp beforehand; ``await close()`` ends every child."""

    def __init__(
        self, pool: ChildPool, egress: Egress, *, has_ffmpeg: bool, bounds: ExtractorBounds | None = None
    ) -> None:
        self._pool = pool
        self._egress = egress
        self._has_ffmpeg = has_ffmpeg
        self._bounds = bounds or ExtractorBounds()

    @property
    def version(self) -> str:
        """yt-dlp's version; ``unknown`` before the first job or ``start``."""
        return self._pool.version or "unknown"

    @property
    def pool(self) -> ChildPool:
        return self._pool

    async def start(self) -> str:
        return await self._pool.start()

    async def close(self) -> None:
        await self._pool.close()

    async def describe(self, url: str, *, playlist_page: int = 1, proxy: str | None = None) -> MediaInfo:
        """Raises ``InvalidUrl``, ``EgressRefused``, ``UnsupportedSite``, ``ExtractionFailed``, ``Overloaded``."""
        job = {"verb": "describe", "url": checked_url(url), "playlist_page": playlist_page}
        seconds = self._bounds.page_timeout_seconds
        message = await self._run(job, "page", seconds, PAGE_BYTES, proxy)
        return answers.result(message, partial(answers.media_info, version=self.version))

    async def extract(self, request: ExtractionRequest) -> Extraction:
        """Raises what ``describe`` raises, ``UnavailableFormat``, and ``PostprocessFailed`` when ffmpeg will be needed and is missing."""
        checked_url(request.url)
        if not is_quality(request.quality):
            raise InvalidInput("choose best, audio, a height like 1080p, or a format id that /parse lists")
        job = {"verb": "extract", "quality": request.quality, "container": request.container.value, **_shared(request)}
        job["subtitles"] = request.with_subtitles
        job["again"] = [{name: getattr(stream, name) for name in KNOWN_BY} for stream in request.again]
        message = await self._run(job, "page", request.timeout_seconds, PAGE_BYTES, request.proxy)
        extraction = answers.result(message, partial(answers.extraction, version=self.version))
        if extraction.finished_ext is None and not self._has_ffmpeg:
            raise PostprocessFailed(MISSING_FFMPEG)
        return extraction

    async def download_native(
        self, request: ExtractionRequest, extraction: Extraction, on_progress: Callable[[TransferSnapshot], None]
    ) -> None:
        """Fetch the streams of kind ``native``. ``dataclasses.replace(stream, kind="native")`` makes one of a stream the
        engine answered ``Unsupported`` for. Raises ``TransferFailed``, ``EgressRefused``, ``DiskFull``."""
        names = _native_names(extraction)
        if not names:
            return
        job = {"verb": "native", "streams": names, **_shared(request)}
        seconds, limit = self._bounds.file_timeout_seconds, self._bounds.max_file_bytes
        message = await self._run(
            job, "file", seconds, limit, request.proxy, _progress_to(on_progress), while_progressing=True
        )
        answers.result(message, dict)

    async def record(
        self,
        request: ExtractionRequest,
        extraction: Extraction,
        on_progress: Callable[[TransferSnapshot], None],
        *,
        seconds: float,
        max_bytes: int,
    ) -> bool:
        """As the port says. Raises ``Overloaded`` when as many streams are being recorded as may be."""
        max_bytes = min(max_bytes, int(self._bounds.max_file_bytes * RECORDED_SHARE))
        bounds = {"seconds": seconds, "max_bytes": max_bytes}
        job = {"verb": "record", "streams": _native_names(extraction), **bounds, **_shared(request)}
        allowed = max_bytes + PAGE_BYTES  # playlists, and the segment that reaches the bound
        message = await self._run(
            job, "live", seconds + ENDING_SECONDS, allowed, request.proxy, _progress_to(on_progress)
        )
        return answers.result(message, lambda answer: bool(answer["over"]))

    def finish_recording(self, workspace: Path) -> None:
        ask_to_finish(workspace)

    async def postprocess(
        self, request: ExtractionRequest, extraction: Extraction, on_phase: Callable[[Phase], None]
    ) -> ProcessedMedia:
        """One file in the workspace. May be repeated after a crash: the streams stay as they were.

        A stream that already is the requested file is looked at, not copied: its path comes back. Raises ``PostprocessFailed``
        when what the site sent is not video or audio.
        """
        if extraction.finished_ext is not None:
            path = request.workspace / extraction.streams[0].file_name
            await asyncio.to_thread(_refuse_disguised, path)
            known = extraction.duration_seconds
            seconds = known if known is not None else await asyncio.to_thread(length_of, path)
            return ProcessedMedia(str(path), extraction.finished_ext, seconds)

        def on_event(event: Mapping[str, Any]) -> None:
            if event["event"] == "phase" and event["phase"] in PHASES:
                on_phase(PHASES[event["phase"]])

        job = {"verb": "postprocess", "info": dict(extraction.info), **_shared(request)}
        message = await self._run(
            job, "file", self._bounds.file_timeout_seconds, SIDECAR_BYTES, request.proxy, on_event
        )
        return answers.result(message, answers.processed)

    async def _run(
        self,
        job: Mapping[str, Any],
        lane: Lane,
        timeout_seconds: float,
        max_bytes: int,
        proxy: str | None,
        on_event: Callable[[Mapping[str, Any]], None] | None = None,
        *,
        while_progressing: bool = False,
    ) -> Mapping[str, Any]:
        label = str(job.get("task_id") or job["verb"])
        # The credential outlives the wait for a child, the queue's length included.
        lasts = LONGEST_TRANSFER_SECONDS if while_progressing else timeout_seconds + 600
        with self._egress.way_out(label, max_bytes=max_bytes, timeout_seconds=lasts, upstream=proxy) as url:
            return await self._pool.run(
                dict(job) | {"proxy": url},
                lane=lane,
                timeout_seconds=timeout_seconds,
                on_event=on_event,
                while_progressing=while_progressing,
            )


def _native_names(extraction: Extraction) -> list[str]:
    return [stream.file_name for stream in extraction.streams if stream.kind == "native"]


def _progress_to(told: Callable[[TransferSnapshot], None]) -> Callable[[Mapping[str, Any]], None]:
    def on_event(event: Mapping[str, Any]) -> None:
        if event["event"] == "progress":
            told(TransferSnapshot(int(event["downloaded"]), event["total"], float(event["speed"])))

    return on_event


def _shared(request: ExtractionRequest) -> dict[str, Any]:
    """The user's cookies go this way only: through the child's socket, never into an argument, the environment or a file."""
    return {
        "url": request.url,
        "task_id": request.task_id,
        "workspace": str(Path(request.workspace).resolve()),
        "cookies": [asdict(cookie) for cookie in request.cookies],
    }


def _refuse_disguised(path: Path) -> None:
    try:
        kind = sniff(os.fspath(path))
    except OSError as error:
        raise PostprocessFailed(f"the fetched file {path.name} is missing; start the download again") from error
    if kind not in MEDIA:
        raise PostprocessFailed("the site sent something other than video or audio; it was not opened")
