"""The port ``Fetcher`` over the one engine of this process. No byte of a stream passes through Python."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from vasset import _engine
from vasset.adapters.fetch.failures import translated
from vasset.adapters.fetch.remarks import gaps, in_words
from vasset.domain.errors import TransferFailed
from vasset.domain.media import Stream
from vasset.domain.ports import FetchedStream, TransferSnapshot

IDLE_TIMEOUT_SECONDS = 30.0
MINIMUM_BYTES_PER_SECOND = 1_024


@asynccontextmanager
async def open_fetcher(
    *,
    egress_allow: Sequence[str] = (),
    ca_file: Path | None = None,
    max_connections: int = 256,
    max_connections_per_host: int = 16,
    rate_limit: int | None = None,
    hash_algorithm: _engine.HashName = "blake3",
    disk_floor: int = 0,
) -> AsyncIterator[EngineFetcher]:
    """The engine for the length of a block; leaving it cancels what runs and keeps the journals."""
    engine = _engine.Engine(
        egress_allow=egress_allow,
        ca_file=str(ca_file) if ca_file is not None else None,
        max_connections=max_connections,
        max_connections_per_host=max_connections_per_host,
        rate_limit=rate_limit,
        disk_floor=disk_floor,
    )
    fetcher = EngineFetcher(engine, hash_algorithm=hash_algorithm)
    try:
        yield fetcher
    finally:
        fetcher.close()
        await asyncio.to_thread(engine.close)


class EngineFetcher:
    """Belongs to the event loop it was made in: one descriptor there tells of every ending."""

    def __init__(self, engine: _engine.Engine, *, hash_algorithm: _engine.HashName) -> None:
        self._engine = engine
        self.hash_algorithm = hash_algorithm
        self._endings: dict[int, asyncio.Future[None]] = {}
        self._loop = asyncio.get_running_loop()
        self._descriptor = engine.completion_fd()
        self._loop.add_reader(self._descriptor, self._drain)

    def start(
        self,
        streams: Sequence[Stream],
        workspace: Path,
        *,
        proxy: str | None = None,
        max_bytes: int | None = None,
        weight: int = 1,
    ) -> EngineTransfer:
        """Every stream at once, each into ``workspace`` under its own name. A stream that is complete there is not fetched again."""
        return EngineTransfer(self, streams, workspace, proxy=proxy, max_bytes=max_bytes, weight=weight)

    async def digest(self, path: Path) -> tuple[str, str]:
        try:
            return self.hash_algorithm, await asyncio.to_thread(_engine.hash_file, path, self.hash_algorithm)
        except _engine.EngineError as error:
            raise translated(error) from error

    def set_limits(self, *, rate_bytes_per_second: int | None) -> None:
        self._engine.set_limits(rate_limit=rate_bytes_per_second or 0)

    def close(self) -> None:
        """Stop listening. Idempotent."""
        self._loop.remove_reader(self._descriptor)

    def submit(self, request: _engine.Request) -> _engine.Handle:
        try:
            handle = self._engine.submit(request)
        except _engine.EngineError as error:
            raise translated(error) from error
        self.expect(handle)
        return handle

    def expect(self, handle: _engine.Handle) -> None:
        """Have :meth:`ended` wait for the next ending of ``handle``."""
        self._endings[handle.id] = self._loop.create_future()

    async def ended(self, handle: _engine.Handle) -> None:
        ending = self._endings[handle.id]
        if not handle.done():
            await asyncio.shield(ending)

    def forget(self, handle: _engine.Handle) -> None:
        self._endings.pop(handle.id, None)

    def _drain(self) -> None:
        for number in self._engine.drain_completions():
            ending = self._endings.get(number)
            if ending is not None and not ending.done():
                ending.set_result(None)


class EngineTransfer:
    """The port ``Transfer``."""

    def __init__(
        self,
        fetcher: EngineFetcher,
        streams: Sequence[Stream],
        workspace: Path,
        *,
        proxy: str | None,
        max_bytes: int | None,
        weight: int,
    ) -> None:
        self._fetcher = fetcher
        self._streams = list(streams)
        self._workspace = workspace
        self._complete = {
            stream.file_name: (workspace / stream.file_name).stat().st_size
            for stream in streams
            if (workspace / stream.file_name).is_file()  # the engine shows a target only when it is complete
        }
        self._handles: dict[str, _engine.Handle] = {}
        try:
            for stream in streams:
                if stream.file_name not in self._complete:
                    self._handles[stream.file_name] = fetcher.submit(self._request(stream, proxy, max_bytes, weight))
        except BaseException:
            self._stop()
            raise

    def snapshot(self) -> TransferSnapshot:
        taken = [handle.snapshot() for handle in self._handles.values()]
        totals = [snapshot.total_bytes for snapshot in taken]
        kept = sum(self._complete.values())
        return TransferSnapshot(
            kept + sum(snapshot.downloaded_bytes for snapshot in taken),
            None if None in totals else kept + sum(total for total in totals if total is not None),
            sum(snapshot.speed_bytes_per_second for snapshot in taken),
        )

    async def result(self) -> Sequence[FetchedStream]:
        """In the order of the streams. The first failure stops the others, except expired URLs: those wait for :meth:`refresh`."""
        waiting = [asyncio.ensure_future(self._outcome(handle)) for handle in self._handles.values()]
        try:
            outcomes = dict(zip(self._handles, await asyncio.gather(*waiting), strict=True))
        except _engine.UrlExpired as error:
            raise translated(error) from error
        except _engine.EngineError as error:
            self._stop()
            raise translated(error) from error
        except asyncio.CancelledError:
            self._stop()
            raise
        finally:
            for future in waiting:
                future.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
        return [await self._fetched(stream, outcomes.get(stream.file_name)) for stream in self._streams]

    def refresh(self, streams: Sequence[Stream]) -> None:
        for stream in streams:
            handle = self._handles.get(stream.file_name)
            if handle is None or not _is_expired(handle):
                continue
            self._fetcher.expect(handle)
            try:
                handle.refresh(stream.url, dict(stream.headers), _cookies(stream))
            except _engine.EngineError as error:
                raise translated(error) from error

    async def cancel(self) -> None:
        """Stop what still runs and wait until it has let go of its files. Journals stay."""
        for handle in self._handles.values():
            handle.cancel()
        for handle in self._handles.values():
            await self._fetcher.ended(handle)
            self._fetcher.forget(handle)

    def _stop(self) -> None:
        for handle in self._handles.values():
            handle.cancel()

    async def _outcome(self, handle: _engine.Handle) -> _engine.Outcome:
        await self._fetcher.ended(handle)
        return handle.result()

    async def _fetched(self, stream: Stream, outcome: _engine.Outcome | None) -> FetchedStream:
        path = self._workspace / stream.file_name
        if outcome is None:
            algorithm, digest = await self._fetcher.digest(path)
            return FetchedStream(stream, path, self._complete[stream.file_name], digest, algorithm)
        algorithm = self._fetcher.hash_algorithm
        remarks = [*map(in_words, outcome.remarks), *gaps(outcome.missing_fragments)]
        return FetchedStream(stream, path, outcome.size, outcome.digests[algorithm], algorithm, tuple(remarks))

    def _request(self, stream: Stream, proxy: str | None, max_bytes: int | None, weight: int) -> _engine.Request:
        if stream.kind == "native":
            raise TransferFailed("this stream is for yt-dlp's own downloader", kind="unsupported", retryable=False)
        fragments = [_engine.Fragment(piece.url, byte_range=piece.byte_range) for piece in stream.fragments]
        try:
            return _engine.Request(
                stream.url,
                str(self._workspace / stream.file_name),
                headers=dict(stream.headers),
                cookies=_cookies(stream),
                kind="media" if stream.kind == "file" else stream.kind,
                fragments=fragments,
                hashes=(self._fetcher.hash_algorithm,),
                max_range_bytes=stream.max_range_bytes,
                representation=stream.representation,
                weight=weight,
                proxy=proxy,
                max_bytes=max_bytes,
                idle_timeout_seconds=IDLE_TIMEOUT_SECONDS,
                # Counts only where a host sends no validator: then a break costs the rest and not the whole again.
                trust_length=True,
                minimum_speed=MINIMUM_BYTES_PER_SECOND,
            )
        except _engine.EngineError as error:
            raise translated(error) from error


def _cookies(stream: Stream) -> list[_engine.Cookie]:
    """Without those no header could carry and those for domains that strangers share: a browser leaves them out too."""
    found = []
    for one in stream.cookies:
        with suppress(_engine.InvalidRequest):
            found.append(
                _engine.Cookie(one.name, one.value, one.domain, path=one.path, secure=one.secure, expires=one.expires)
            )
    return found


def _is_expired(handle: _engine.Handle) -> bool:
    if not handle.done():
        return False
    try:
        handle.result()
    except _engine.UrlExpired:
        return True
    except _engine.EngineError:
        return False
    return False
