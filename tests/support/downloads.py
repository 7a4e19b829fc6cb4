"""Small extractor and fetcher that do on command what sites and networks do, for tests of what happens around them."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vasset.domain.download import Phase
from vasset.domain.media import Extraction, MediaInfo, ProcessedMedia, Stream
from vasset.domain.ports import ExtractionRequest, FetchedStream, TransferSnapshot

CONTENT = b"the one true version"


async def at_once() -> None:
    """A step that does not wait."""


@dataclass
class ScriptedExtractor:
    """`on_extract` and `on_postprocess` run first and may wait or raise."""

    streams: Sequence[Stream] = (Stream("18", "file", "http://site.test/v.mp4", "v.mp4", size_bytes=len(CONTENT)),)
    finished_ext: str | None = "mp4"
    on_extract: Callable[[], Awaitable[None]] = at_once
    on_postprocess: Callable[[], Awaitable[None]] = at_once
    on_native: Callable[[], Awaitable[None]] = at_once
    on_record: Callable[[], Awaitable[None]] = at_once
    is_live: bool = False
    refusals: int = 0  # recordings that end because the site stopped answering
    finish_asked: asyncio.Event = field(default_factory=asyncio.Event)
    extractions: int = 0
    asked: list[ExtractionRequest] = field(default_factory=list)
    version: str = "2026.01.01"

    async def describe(self, url: str, *, playlist_page: int = 1, proxy: str | None = None) -> MediaInfo:
        raise NotImplementedError

    async def extract(self, request: ExtractionRequest) -> Extraction:
        self.extractions += 1
        self.asked.append(request)
        await self.on_extract()
        return Extraction(
            "A title", "site.test", self.streams, {}, self.version, duration_seconds=3.0,
            estimated_bytes=sum(stream.size_bytes or 0 for stream in self.streams) or None, finished_ext=self.finished_ext, is_live=self.is_live,
        )  # fmt: skip

    async def download_native(
        self, request: ExtractionRequest, extraction: Extraction, on_progress: Callable[[TransferSnapshot], None]
    ) -> None:
        await self.on_native()
        for stream in extraction.streams:
            if stream.kind == "native":
                (request.workspace / stream.file_name).write_bytes(CONTENT)
        on_progress(TransferSnapshot(len(CONTENT), len(CONTENT), 1.0))

    async def record(
        self,
        request: ExtractionRequest,
        extraction: Extraction,
        on_progress: Callable[[TransferSnapshot], None],
        *,
        seconds: float,
        max_bytes: int,
    ) -> bool:
        await self.on_record()
        if self.refusals > 0:
            self.refusals -= 1
            return False
        for stream in extraction.streams:
            (request.workspace / stream.file_name).write_bytes(CONTENT)
        on_progress(TransferSnapshot(len(CONTENT), None, 1.0))
        return True

    def finish_recording(self, workspace: Path) -> None:
        self.finish_asked.set()

    async def postprocess(
        self, request: ExtractionRequest, extraction: Extraction, on_phase: Callable[[Phase], None]
    ) -> ProcessedMedia:
        await self.on_postprocess()
        if extraction.finished_ext is not None:
            return ProcessedMedia(str(request.workspace / extraction.streams[0].file_name), extraction.finished_ext)
        on_phase(Phase.MERGING)
        path = request.workspace / "merged.mp4"
        path.write_bytes(b"".join((request.workspace / stream.file_name).read_bytes() for stream in extraction.streams))
        return ProcessedMedia(str(path), "mp4")


@dataclass
class ScriptedTransfer:
    fetcher: ScriptedFetcher
    streams: Sequence[Stream]
    workspace: Path
    cancelled: bool = False
    refreshed: list[Sequence[Stream]] = field(default_factory=list)

    def snapshot(self) -> TransferSnapshot:
        return TransferSnapshot(10, 20, 5.0)

    async def result(self) -> Sequence[FetchedStream]:
        await self.fetcher.on_result()
        return [self._write(stream) for stream in self.streams]

    def _write(self, stream: Stream) -> FetchedStream:
        path = self.workspace / stream.file_name
        path.write_bytes(CONTENT)
        return FetchedStream(stream, path, len(CONTENT), hashlib.sha256(CONTENT).hexdigest(), "sha256")

    def refresh(self, streams: Sequence[Stream]) -> None:
        self.refreshed.append(streams)

    async def cancel(self) -> None:
        self.cancelled = True


@dataclass
class ScriptedFetcher:
    """`on_result` runs before the bytes appear and may wait or raise; `digests` counts second reads."""

    on_result: Callable[[], Awaitable[None]] = at_once
    transfers: list[ScriptedTransfer] = field(default_factory=list)
    digests: int = 0

    def start(
        self,
        streams: Sequence[Stream],
        workspace: Path,
        *,
        proxy: str | None = None,
        max_bytes: int | None = None,
        weight: int = 1,
    ) -> ScriptedTransfer:
        transfer = ScriptedTransfer(self, streams, workspace)
        self.transfers.append(transfer)
        return transfer

    async def digest(self, path: Path) -> tuple[str, str]:
        self.digests += 1
        return "sha256", hashlib.sha256(path.read_bytes()).hexdigest()

    def set_limits(self, *, rate_bytes_per_second: int | None) -> None:
        raise NotImplementedError


@dataclass
class Gatekeeper:
    """A step that reports its arrival and waits to be let on."""

    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    let_on: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self) -> None:
        self.arrived.set()
        await self.let_on.wait()
