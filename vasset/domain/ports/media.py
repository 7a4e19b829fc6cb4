"""From a page to bytes: parser, extractor, fetcher."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from vasset.domain.download import Phase
from vasset.domain.media import Container, Cookie, Extraction, MediaInfo, ProcessedMedia, Stream
from vasset.domain.user import Identity


class Parser(Protocol):
    """Parser service: URL → metadata."""

    async def parse(self, identity: Identity, url: str, *, playlist_page: int = 1) -> MediaInfo: ...


@dataclass(frozen=True, slots=True)
class ExtractionRequest:
    """``workspace`` is where phase two will find the streams; ``proxy`` the third-party exit leased for the whole task.

    ``again`` are the streams of an extraction before, whose addresses ran out: the same ones are wanted, not the best of today.
    ``cookies`` are the user's own, for the page and whatever it leads to.
    """

    url: str
    quality: str
    container: Container
    task_id: str
    workspace: Path
    proxy: str | None = None
    timeout_seconds: float = 60.0
    with_subtitles: bool = True
    again: Sequence[Stream] = ()
    cookies: Sequence[Cookie] = ()


class Extractor(Protocol):
    """yt-dlp, in child processes only."""

    async def describe(self, url: str, *, playlist_page: int = 1, proxy: str | None = None) -> MediaInfo: ...

    async def extract(self, request: ExtractionRequest) -> Extraction: ...

    async def download_native(
        self, request: ExtractionRequest, extraction: Extraction, on_progress: Callable[[TransferSnapshot], None]
    ) -> None:
        """Let yt-dlp's own downloader fetch the streams of kind ``native``, behind the guard."""
        ...

    async def record(
        self,
        request: ExtractionRequest,
        extraction: Extraction,
        on_progress: Callable[[TransferSnapshot], None],
        *,
        seconds: float,
        max_bytes: int,
    ) -> bool:
        """Record the live streams of kind ``native`` until they end, ``seconds`` or ``max_bytes`` are reached, or somebody asks to finish.

        False when the site stopped answering: extract again and go on. What was recorded before, also by another process, is kept.
        """
        ...

    def finish_recording(self, workspace: Path) -> None:
        """End the recording in this workspace, whichever process runs it now or later, and keep what it has."""
        ...

    async def postprocess(
        self, request: ExtractionRequest, extraction: Extraction, on_phase: Callable[[Phase], None]
    ) -> ProcessedMedia: ...

    @property
    def version(self) -> str: ...


@dataclass(frozen=True, slots=True)
class TransferSnapshot:
    downloaded_bytes: int
    total_bytes: int | None
    speed_bytes_per_second: float


@dataclass(frozen=True, slots=True)
class FetchedStream:
    stream: Stream
    path: Path
    size_bytes: int
    digest: str
    hash_algorithm: str
    remarks: tuple[str, ...] = ()  # what nobody can know or would guess about these bytes, in words


class Transfer(Protocol):
    """All streams of one task on their way, in the shared engine."""

    def snapshot(self) -> TransferSnapshot: ...

    async def result(self) -> Sequence[FetchedStream]:
        """Wait for every stream. Raises ``TransferFailed``, ``DiskFull`` or :class:`UrlsExpired`. Cancelling the waiter cancels the transfer."""
        ...

    def refresh(self, streams: Sequence[Stream]) -> None:
        """Go on with fresh URLs from a second extraction; the journal continues where validators agree."""
        ...

    async def cancel(self) -> None: ...


class Fetcher(Protocol):
    """The engine: one per process."""

    def start(
        self,
        streams: Sequence[Stream],
        workspace: Path,
        *,
        proxy: str | None = None,
        max_bytes: int | None = None,
        weight: int = 1,
    ) -> Transfer: ...

    async def digest(self, path: Path) -> tuple[str, str]:
        """``(algorithm, hex)`` of a local file, read outside the event loop (post-processed files)."""
        ...

    def set_limits(self, *, rate_bytes_per_second: int | None) -> None: ...
