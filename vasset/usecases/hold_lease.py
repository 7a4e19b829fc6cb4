"""Run work for as long as a lease is held and its user wants it; stop it the moment either ends.

A heartbeat prolongs the lease and brings the user's wish. ``nudge`` asks for a heartbeat at once, so a cancel in the same process does
not wait for the next one. When SQL does not answer, work goes on until the lease would have ended: after that somebody else may own
the task, and going on could only do harm.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from enum import StrEnum
from typing import Any, TypeVar

from vasset.domain.download import Intent, Lease
from vasset.domain.errors import LeaseLost, Unavailable
from vasset.domain.ports import Clock, TaskStore
from vasset.usecases.end_tasks import end_tasks

Result = TypeVar("Result")


class Stop(StrEnum):
    """Why work was stopped from outside."""

    CANCEL = "cancel"
    PAUSE = "pause"
    DRAIN = "drain"
    LOST = "lost"


_STOPS = {Intent.CANCEL: Stop.CANCEL, Intent.PAUSE: Stop.PAUSE}


class HoldLease:
    def __init__(
        self,
        store: TaskStore,
        clock: Clock,
        lease: Lease,
        *,
        lease_seconds: float,
        heartbeat_seconds: float,
        on_finish: Callable[[], None] = lambda: None,
        progress: Callable[[], tuple[int, int | None]] = lambda: (0, None),
    ) -> None:
        """``progress`` is written down with every heartbeat, and once more when the work was stopped: bytes and how many there will be.

        ``on_finish`` is called at every heartbeat after the user asked a recording to end: the work itself goes on."""
        self._store = store
        self._clock = clock
        self._lease = lease
        self._lease_seconds = lease_seconds
        self._heartbeat_seconds = heartbeat_seconds
        self._on_finish = on_finish
        self._progress = progress
        self._nudged = asyncio.Event()
        self._draining = False

    def nudge(self) -> None:
        """Ask what the user wants now, rather than at the next heartbeat."""
        self._nudged.set()

    def drain(self) -> None:
        """Stop the work and give the task back unharmed."""
        self._draining = True
        self._nudged.set()

    async def run(self, work: Coroutine[Any, Any, Result]) -> Result | Stop:
        """The work's result, its error raised, or why it was stopped. The work has ended when this returns."""
        working = asyncio.ensure_future(work)
        beating = asyncio.ensure_future(self._until_stopped())
        try:
            await asyncio.wait({working, beating}, return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                await end_tasks([working])
            if beating.done() and (working.cancelled() or working.exception() is not None):
                return beating.result()
            return working.result()  # `uninterrupted` work may end with a result although it was asked to stop
        finally:
            await end_tasks([working, beating])

    async def beat(self) -> Intent:
        """One heartbeat. Bytes that are not known yet do not overwrite those of an earlier execution."""
        downloaded, total = self._progress()
        known = {"downloaded_bytes": downloaded, "total_bytes": total} if downloaded else {}
        return await self._store.heartbeat(self._lease, lease_seconds=self._lease_seconds, **known)

    async def _until_stopped(self) -> Stop:
        held_until = self._clock.monotonic() + self._lease_seconds
        pause_seconds = self._heartbeat_seconds
        while True:
            await self._wait_for_nudge(pause_seconds)
            if self._draining:
                return Stop.DRAIN
            asked_at = self._clock.monotonic()
            try:
                intent = await self.beat()
            except LeaseLost:
                return Stop.LOST
            except Unavailable:
                if self._clock.monotonic() >= held_until:
                    return Stop.LOST
                pause_seconds = min(1.0, self._heartbeat_seconds)
                continue
            held_until = asked_at + self._lease_seconds
            pause_seconds = self._heartbeat_seconds
            if intent is Intent.FINISH:
                self._on_finish()
            if intent in _STOPS:
                return _STOPS[intent]

    async def _wait_for_nudge(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._nudged.wait()
        except TimeoutError:
            return
        self._nudged.clear()


async def uninterrupted(step: Awaitable[Result]) -> Result:
    """Finish ``step`` even when the caller is cancelled meanwhile; the cancellation is absorbed, the result stands.

    For the few steps whose halves must not part (rename and its SQL row): there the fence decides, not the moment.
    """
    inner = asyncio.ensure_future(step)
    while not inner.done():
        try:
            await asyncio.shield(inner)
        except asyncio.CancelledError:
            if inner.cancelled():
                raise
            current = asyncio.current_task()
            if current is not None:
                current.uncancel()
    return inner.result()
