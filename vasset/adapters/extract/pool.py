"""A bounded number of children at work, each job with a time limit, nobody's crash anybody else's.

Three lanes: ``page`` (reading a page, seconds), ``file`` (merging, converting, native downloads; minutes) and ``live`` (recording;
hours), so that a merge never keeps a page waiting and a recording no merge. Nobody waits for the live lane: what is not recorded now
is gone, so its user is told. Children come from the nursery on demand, are used again while there is work, and leave after
some jobs, when they grew, when a job of theirs was cancelled, or after a rest without work.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import structlog

from vasset.adapters.extract.nursery import ChildLink, Nursery, NurserySettings, crashed
from vasset.domain.errors import ExtractionFailed, Overloaded
from vasset.usecases.end_tasks import end_tasks

log = structlog.get_logger(__name__)

Lane = Literal["page", "file", "live"]


@dataclass(frozen=True, slots=True)
class PoolBounds:
    """``waiting`` jobs a lane may hold beyond those at work; one more is refused with ``Overloaded``."""

    page_children: int = 2
    file_children: int = 2
    live_children: int = 4
    waiting: int = 256
    recycle_after: int = 200
    max_private_mib: int = 160
    rest_seconds: float = 30.0


class ChildPool:
    """Started by its first job, or by ``start`` to have yt-dlp loaded before."""

    def __init__(
        self,
        settings: NurserySettings,
        bounds: PoolBounds | None = None,
        *,
        locate: Callable[[], Path | None] | None = None,
    ) -> None:
        """``locate`` answers where yt-dlp lies now (None: the installed one); it is asked before every job."""
        self._settings = settings
        self._locate = locate or (lambda: settings.ytdlp_path)
        self._unloadable: Path | None = None
        self._bounds = bounds or PoolBounds()
        self._nursery: Nursery | None = None
        self._retired: set[asyncio.Future[None]] = set()
        self._starting = asyncio.Lock()
        self._idle: list[tuple[Nursery, ChildLink]] = []
        self._slots = {
            "page": asyncio.Semaphore(self._bounds.page_children),
            "file": asyncio.Semaphore(self._bounds.file_children),
            "live": asyncio.Semaphore(self._bounds.live_children),
        }
        self._queued = {"page": 0, "file": 0, "live": 0}
        self._rest: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def version(self) -> str | None:
        """yt-dlp's version, once loaded."""
        return self._nursery.version if self._nursery is not None else None

    @property
    def nursery(self) -> Nursery | None:
        """The process in use, once there is one."""
        return self._nursery

    @property
    def settings(self) -> NurserySettings:
        return self._settings

    async def start(self) -> str:
        """Load yt-dlp and answer its version."""
        return (await self._ready_nursery()).version

    async def run(
        self,
        job: Mapping[str, Any],
        *,
        lane: Lane,
        timeout_seconds: float,
        on_event: Callable[[Mapping[str, Any]], None] | None = None,
        while_progressing: bool = False,
    ) -> dict[str, Any]:
        """The job's last message. The time limit starts when the job has a child; waiting for one is bounded by ``waiting``.

        ``while_progressing``: the limit is on the time since the last byte that was not there before.

        Raises ``ExtractionFailed`` of kind ``timeout`` or ``crashed``, ``Overloaded``. Cancelling kills the child.
        """
        async with self._slot(lane):
            nursery, link = await self._take()
            healthy = False
            try:
                async with asyncio.timeout(timeout_seconds) as bound:
                    most = 0
                    await link.send(dict(job) | {"cpu_seconds": timeout_seconds * 2})
                    while True:
                        message = await link.receive()
                        if message["event"] in {"done", "failed"}:
                            break
                        if while_progressing and (arrived := int(message.get("downloaded") or 0)) > most:
                            most = arrived
                            bound.reschedule(asyncio.get_running_loop().time() + timeout_seconds)
                        if on_event is not None:
                            on_event(message)
                link.jobs += 1
                healthy = self._fit(nursery, link, message)
                return message
            except TimeoutError as error:
                words = f"The job took longer than {timeout_seconds:g} seconds and was stopped."
                raise ExtractionFailed(words, kind="timeout", retryable=True) from error
            except OSError as error:
                raise crashed() from error
            finally:
                if healthy:
                    self._keep(nursery, link)
                else:
                    nursery.kill(link)

    async def close(self) -> None:
        """Kill every child and the nursery. Idempotent."""
        self._closed = True
        if self._rest is not None:
            self._rest.cancel()
        self._send_home(lambda _: True)
        await end_tasks(self._retired)
        async with self._starting:
            if self._nursery is not None:
                await self._nursery.stop()
                self._nursery = None

    @asynccontextmanager
    async def _slot(self, lane: Lane) -> AsyncIterator[None]:
        if self._closed:
            raise Overloaded("extraction is shutting down; try again shortly")
        slots = self._slots[lane]
        if lane == "live" and slots.locked():
            words = (
                f"{self._bounds.live_children} live streams are being recorded already; try again when one has ended"
            )
            raise Overloaded(words, retry_after_seconds=30.0)
        if slots.locked() and self._queued[lane] >= self._bounds.waiting:
            raise Overloaded("too many pages are waiting to be read; try again shortly", retry_after_seconds=5.0)
        self._queued[lane] += 1
        try:
            await slots.acquire()
        finally:
            self._queued[lane] -= 1
        try:
            yield
        finally:
            slots.release()

    async def _take(self) -> tuple[Nursery, ChildLink]:
        nursery = await self._ready_nursery()
        while self._idle:
            owner, link = self._idle.pop()
            if owner is nursery and owner.alive and not link.ended.done():
                return owner, link
            owner.kill(link)
        return nursery, await nursery.fork()

    async def _ready_nursery(self) -> Nursery:
        """The nursery of the yt-dlp in use; an update takes effect here, and one that does not load is left aside."""
        wanted = self._locate()
        async with self._starting:
            present = self._nursery
            is_broken = wanted is not None and wanted == self._unloadable
            is_current = is_broken or wanted == self._settings.ytdlp_path
            if present is not None and present.alive and is_current:
                return present
            fresh = await self._start(None if is_broken else wanted)
            self._nursery = fresh
            self._send_home(lambda nursery: nursery is not fresh)
            if present is not None:
                self._retire(present)
            return fresh

    async def _start(self, ytdlp_path: Path | None) -> Nursery:
        settings = replace(self._settings, ytdlp_path=ytdlp_path)
        try:
            fresh = await Nursery.start(settings)
        except ExtractionFailed:
            if ytdlp_path is None:
                raise
            log.error("this yt-dlp does not load; the installed one is used", ytdlp=str(ytdlp_path))
            self._unloadable = ytdlp_path
            settings = replace(self._settings, ytdlp_path=None)
            fresh = await Nursery.start(settings)
        self._settings = settings
        return fresh

    def _fit(self, nursery: Nursery, link: ChildLink, message: Mapping[str, Any]) -> bool:
        grown = int(message.get("private_mib") or 0) > self._bounds.max_private_mib
        return link.jobs < self._bounds.recycle_after and not grown and nursery is self._nursery and not self._closed

    def _keep(self, nursery: Nursery, link: ChildLink) -> None:
        self._idle.append((nursery, link))
        if self._rest is not None:
            self._rest.cancel()
        loop = asyncio.get_running_loop()
        self._rest = loop.call_later(self._bounds.rest_seconds, self._send_home, lambda _: True)

    def _send_home(self, leaves: Callable[[Nursery | None], bool]) -> None:
        for owner, link in [each for each in self._idle if leaves(each[0])]:
            self._idle.remove((owner, link))
            owner.kill(link)

    def _retire(self, nursery: Nursery) -> None:
        async def wait_for_jobs() -> None:
            try:
                while nursery.children:
                    await asyncio.wait([link.ended for link in nursery.children.values()])
            finally:
                await asyncio.shield(nursery.stop())

        retirement = asyncio.ensure_future(wait_for_jobs())
        self._retired.add(retirement)
        retirement.add_done_callback(self._retired.discard)
        with contextlib.suppress(asyncio.InvalidStateError):
            retirement.add_done_callback(lambda done: done.cancelled() or done.exception())
