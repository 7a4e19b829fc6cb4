"""A page's URL → one complete local file with its digest: extraction, bytes, post-processing (DESIGN §3, steps 3 to 5).

Shared by the worker and by ``vasset get``. It writes nowhere but in the workspace and leaves there what a second run can use: the
engine's journals and the streams that are complete.
"""

from __future__ import annotations

import asyncio
import math
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from vasset.domain.download import Phase
from vasset.domain.errors import ExtractionFailed, InvalidUrl, PostprocessFailed, TransferFailed, UrlsExpired
from vasset.domain.media import Extraction, ProcessedMedia, Stream
from vasset.domain.ports import (
    ExtractionRequest,
    Extractor,
    FetchedStream,
    Fetcher,
    Storage,
    Transfer,
    TransferSnapshot,
)
from vasset.domain.progress import Waiting
from vasset.telemetry import faultpoint
from vasset.usecases.renew_addresses import Renewals, renewed

MAX_LIVE_RENEWALS = 50
LONGEST_AVAILABILITY_WAIT_SECONDS = 300.0  # an advertisement; what is further away is no promise
LIVE = "live"
PLAYLIST = "playlist"  # came where a file was expected
MERGE_BEGINS_WITHIN_SECONDS = 0.3  # a child has been forked and ffmpeg writes by then
MERGE_SPACE_FACTOR = 2  # the streams and the file made of them exist side by side for a moment


class Gate(Protocol):
    """A bound on how many may do something at a time."""

    def hold(self) -> AbstractAsyncContextManager[None]: ...


@dataclass(frozen=True, slots=True)
class AcquiredMedia:
    """The finished file, still in the workspace; ``remarks`` as in ``FetchedStream`` and ``ProcessedMedia``."""

    path: Path
    ext: str
    digest: tuple[str, str]
    title: str
    duration_seconds: float | None
    remarks: tuple[str, ...] = ()


class Acquisition:
    """One execution; ``snapshot`` may be read at any moment by the same event loop."""

    def __init__(
        self,
        *,
        extractor: Extractor,
        fetcher: Fetcher,
        storage: Storage | None,
        extraction_gate: Gate,
        postprocess_gate: Gate,
        request: ExtractionRequest,
        max_bytes: int,
        on_phase: Callable[[Phase], None],
        live_seconds: float = 14_400.0,
        on_live: Callable[[Extraction], Awaitable[None]] | None = None,
        on_wait: Callable[[Waiting | None], None] = lambda waiting: None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """``on_wait`` is told what is being waited for, and None when that is over."""
        self._extractor = extractor
        self._fetcher = fetcher
        self._storage = storage
        self._extraction_gate = extraction_gate
        self._postprocess_gate = postprocess_gate
        self._request = request
        self._max_bytes = max_bytes
        self._on_phase = on_phase
        self._transfer: Transfer | None = None
        self._native = TransferSnapshot(0, None, 0.0)
        self._has_native = False
        self._live_seconds = live_seconds
        self._on_live = on_live
        self._on_wait = on_wait
        self._sleep = sleep
        self._wall_clock = wall_clock
        self.is_recording = False
        self.title: str | None = None

    @property
    def has_native(self) -> bool:
        """Whether a child fetches or records some of the streams."""
        return self._has_native

    def snapshot(self) -> TransferSnapshot | None:
        """The sum over all streams; None before the first byte was asked for."""
        if self._transfer is None:
            return self._native if self._has_native else None
        engine = self._transfer.snapshot()
        if not self._has_native:
            return engine
        totals = (engine.total_bytes, self._native.total_bytes)
        return TransferSnapshot(
            engine.downloaded_bytes + self._native.downloaded_bytes,
            None if None in totals else sum(total for total in totals if total is not None),
            engine.speed_bytes_per_second + self._native.speed_bytes_per_second,
        )

    async def extract(self) -> Extraction:
        self._on_phase(Phase.PARSING)
        async with self._turn(self._extraction_gate, "other pages are being read first"):
            extraction = await self._extractor.extract(self._request)
        self.title = extraction.title
        return extraction

    @asynccontextmanager
    async def _turn(self, gate: Gate, message: str) -> AsyncIterator[None]:
        """Hold the gate; until then the task says what it waits for."""
        self._on_wait(Waiting("turn", message))
        try:
            async with gate.hold():
                self._on_wait(None)
                yield
        finally:
            self._on_wait(None)

    def finish(self) -> None:
        """End the recording of a live stream and make a file of what there is. Nothing else listens to it."""
        self._extractor.finish_recording(self._request.workspace)

    async def complete(self, extraction: Extraction) -> AcquiredMedia:
        """Fetch, post-process and hash. Raises the ``TaskError`` of whichever step failed, ``DiskPressure`` or ``DiskFull``."""
        async with AsyncExitStack() as space:
            if self._storage is not None:
                held = await asyncio.to_thread(_held_bytes, self._request.workspace)
                more = max(0, expected_bytes(extraction) - held)
                await space.enter_async_context(self._storage.reserve(more))
            self._on_phase(Phase.DOWNLOADING)
            try:
                extraction, fetched = await self._fetch(extraction)
            except (TransferFailed, InvalidUrl) as error:
                if not _may_go_otherwise(extraction, error):
                    raise
                extraction, fetched = await self._fetch_otherwise(extraction, error)
            return await self._postprocess(extraction, fetched)

    async def _fetch_otherwise(
        self, extraction: Extraction, refusal: TransferFailed | InvalidUrl
    ) -> tuple[Extraction, list[FetchedStream]]:
        """What the engine cannot read or does not speak is yt-dlp's to fetch; what turns out to be on air is recorded."""
        kind = refusal.kind if isinstance(refusal, TransferFailed) else None
        if kind == PLAYLIST:
            extraction = _as_playlists(extraction)
            try:
                return await self._fetch(extraction)
            except (TransferFailed, InvalidUrl) as error:
                if not _may_go_otherwise(extraction, error):
                    raise
        if kind != LIVE:
            try:
                return await self._fetch(_all_native(extraction))
            except TransferFailed as error:
                if error.kind != LIVE:
                    raise
            except ExtractionFailed as error:
                if error.kind != "other":
                    raise
                raise refusal from error  # yt-dlp could not either, and cannot say what it is
        return await self._fetch(replace(_all_native(extraction), is_live=True))

    async def _fetch(self, extraction: Extraction) -> tuple[Extraction, list[FetchedStream]]:
        if extraction.is_live:
            try:
                return await self._record(extraction), []
            finally:
                self.is_recording = False
        await self._until_available(extraction.streams)
        engine_streams = [stream for stream in extraction.streams if stream.kind != "native"]
        self._has_native = len(engine_streams) < len(extraction.streams)
        if not self._has_native:
            return await self._fetch_by_engine(extraction, engine_streams)
        native = asyncio.ensure_future(self._fetch_native(extraction))
        engine = asyncio.ensure_future(self._fetch_by_engine(extraction, engine_streams)) if engine_streams else None
        pending: list[asyncio.Future[Any]] = [native] if engine is None else [native, engine]
        try:
            await asyncio.gather(*pending)
        finally:
            for future in pending:
                future.cancel()
            await asyncio.gather(*pending, return_exceptions=True)
        return engine.result() if engine is not None else (extraction, [])

    async def _fetch_by_engine(
        self, extraction: Extraction, streams: list[Stream]
    ) -> tuple[Extraction, list[FetchedStream]]:
        transfer = self._fetcher.start(
            streams, self._request.workspace, proxy=self._request.proxy, max_bytes=self._max_bytes
        )
        self._transfer = transfer
        try:
            renewals = Renewals()
            while True:
                try:
                    return extraction, list(await transfer.result())
                except UrlsExpired:
                    extraction = await self._renew(extraction, renewals.back_off(transfer.snapshot().downloaded_bytes))
                    fresh = renewed(streams, extraction.streams)
                    await self._until_available(fresh)
                    transfer.refresh(fresh)
        finally:
            await transfer.cancel()

    async def _renew(self, extraction: Extraction, back_off_seconds: float) -> Extraction:
        """The same streams under new addresses, through the same exit."""
        await self._waiting("the site refuses its own addresses; new ones are asked for in {} s", back_off_seconds)
        async with self._extraction_gate.hold():
            return await self._extractor.extract(replace(self._request, again=tuple(extraction.streams)))

    async def _until_available(self, streams: Sequence[Stream]) -> None:
        """Sites serve a video when its advertisement would be over; before that they answer 403, whoever asks."""
        at = max((stream.available_at or 0.0 for stream in streams), default=0.0)
        await self._waiting(
            "the site makes us wait {} s", min(at - self._wall_clock(), LONGEST_AVAILABILITY_WAIT_SECONDS)
        )

    async def _waiting(self, words: str, seconds: float) -> None:
        if seconds <= 0:
            return
        self._on_wait(Waiting("site", words.format(math.ceil(seconds))))
        try:
            await self._sleep(seconds)
        finally:
            self._on_wait(None)

    async def _fetch_native(self, extraction: Extraction) -> None:
        await self._extractor.download_native(self._request, extraction, self._observe_native)

    async def _record(self, extraction: Extraction) -> Extraction:
        """Until the stream is over. An address that stops answering is asked of the page anew: tokens of live streams expire."""
        self._has_native = self.is_recording = True
        if self._on_live is not None:
            await self._on_live(extraction)
        until = time.monotonic() + self._live_seconds
        for _ in range(MAX_LIVE_RENEWALS):
            left = max(0.0, until - time.monotonic())
            if await self._extractor.record(
                self._request, extraction, self._observe_native, seconds=left, max_bytes=self._max_bytes
            ):
                return extraction
            async with self._extraction_gate.hold():
                extraction = await self._extractor.extract(self._request)
            if not extraction.is_live:
                raise TransferFailed("the stream stopped before anything of it could be recorded", kind="ended")
        self.finish()
        await self._extractor.record(
            self._request, extraction, self._observe_native, seconds=0.0, max_bytes=self._max_bytes
        )
        return extraction

    def _observe_native(self, snapshot: TransferSnapshot) -> None:
        self._native = snapshot

    async def _postprocess(self, extraction: Extraction, fetched: list[FetchedStream]) -> AcquiredMedia:
        before = {stream.path: _identity(stream.path) for stream in fetched}
        if extraction.finished_ext is not None:  # only looked at: nobody waits for a merge of somebody else's
            processed = await self._extractor.postprocess(self._request, extraction, self._on_phase)
        else:
            async with self._turn(self._postprocess_gate, "other downloads are being joined or converted first"):
                self._on_phase(Phase.MERGING if len(extraction.streams) > 1 else Phase.POSTPROCESSING)
                faultpoint.begin("K13", within_seconds=MERGE_BEGINS_WITHIN_SECONDS)
                processed = await self._extractor.postprocess(self._request, extraction, self._on_phase)
        self._on_phase(Phase.FINALIZING)
        path = _inside(self._request.workspace, processed)
        digest = _unchanged_digest(path, before, fetched) or await self._fetcher.digest(path)
        duration = processed.duration_seconds or extraction.duration_seconds
        remarks = (*(remark for stream in fetched for remark in stream.remarks), *processed.remarks)
        return AcquiredMedia(path, processed.ext, digest, extraction.title, duration, tuple(dict.fromkeys(remarks)))


def expected_bytes(extraction: Extraction) -> int:
    """How much space the task will need at most, as far as the site tells."""
    sizes = [stream.size_bytes for stream in extraction.streams]
    known = sum(size for size in sizes if size is not None)
    expected = max(known, extraction.estimated_bytes or 0)
    return expected if extraction.finished_ext is not None else expected * MERGE_SPACE_FACTOR


def _held_bytes(workspace: Path) -> int:
    """What an earlier execution left: it is on the disk already."""
    return sum(entry.stat(follow_symlinks=False).st_blocks * 512 for entry in os.scandir(workspace))


def _may_go_otherwise(extraction: Extraction, refusal: TransferFailed | InvalidUrl) -> bool:
    """Bytes that lie are lies to everybody; a playlist or manifest that ours cannot read may be read by another."""
    if isinstance(refusal, TransferFailed):
        return refusal.kind in {"unsupported", "unreadable", LIVE, PLAYLIST}
    return any(stream.kind == "dash" for stream in extraction.streams)


def _as_playlists(extraction: Extraction) -> Extraction:
    """The engine tells HLS and DASH apart by what it reads; the file made of it is not the one the site named."""
    streams = [replace(stream, kind="hls") if stream.kind == "file" else stream for stream in extraction.streams]
    return replace(extraction, streams=streams, finished_ext=None)


def _all_native(extraction: Extraction) -> Extraction:
    """What the engine recognised and does not speak (SAMPLE-AES, a live playlist) is yt-dlp's own downloader's to fetch."""
    return replace(extraction, streams=[replace(stream, kind="native") for stream in extraction.streams])


def _identity(path: Path) -> tuple[int, int, int]:
    status = path.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns


def _unchanged_digest(
    path: Path, before: Mapping[Path, tuple[int, int, int]], fetched: list[FetchedStream]
) -> tuple[str, str] | None:
    """The engine's digest when post-processing left (or only renamed) a fetched file: no second read."""
    for stream in fetched:
        if before[stream.path] == _identity(path):
            return stream.hash_algorithm, stream.digest
    return None


def _inside(workspace: Path, processed: ProcessedMedia) -> Path:
    """The child's answer is not trusted to stay in its folder."""
    path = Path(processed.path)
    path = path if path.is_absolute() else workspace / path
    if path.is_symlink() or path.resolve().parent != workspace.resolve() or not path.is_file():
        raise PostprocessFailed("post-processing left no file of its own in the task's folder; retry the download")
    return path
