"""Keeps the disk usable: what the engine does not write (ffmpeg, recordings, other programs) is looked at four times a second.

In this order: expired files go, the youngest child that writes is stopped, and when even so there is hardly a byte left the emergency reserve
is given up. It is taken again as soon as there is room for it. Nothing here asks SQL for leave: a database on the same disk cannot
answer any more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

import structlog

from vasset.domain.errors import VAssetError
from vasset.domain.ports import Storage
from vasset.usecases.end_tasks import end_tasks
from vasset.worker.pool import Pool

LOOK_SECONDS = 0.25
RELIEF_SECONDS = 5.0
log = structlog.get_logger("vasset.worker")


class Reserve(Protocol):
    """A file that can be given up."""

    @property
    def size_bytes(self) -> int: ...

    @property
    def is_held(self) -> bool: ...

    def hold(self) -> None: ...

    def release(self) -> bool: ...


class DiskGuard:
    def __init__(
        self, storage: Storage, pool: Pool, reserve: Reserve, *, relieve: Callable[[], Awaitable[object]] | None
    ) -> None:
        self._storage = storage
        self._pool = pool
        self._reserve = reserve
        self._relieve = relieve
        self._was_short = False

    async def run(self) -> None:
        """Look until cancelled."""
        loop = asyncio.get_running_loop()
        relieve_at = loop.time()
        beside: set[asyncio.Task[None]] = set()  # a database that hangs must not keep the disk from being looked at
        try:
            while True:
                if self.look():
                    if self._relieve is not None and loop.time() >= relieve_at:
                        relieve_at = loop.time() + RELIEF_SECONDS
                        beside.add(asyncio.create_task(self._make_room(self._relieve), name="disk relief"))
                elif self._wants_reserve():
                    await self._take_reserve()
                beside = {task for task in beside if not task.done()}
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            await end_tasks(beside)

    def look(self) -> bool:
        """One look; whether the disk is short."""
        disk = self._storage.usage()
        if disk.is_short != self._was_short:
            self._was_short = disk.is_short
            words = "the disk is below its floor" if disk.is_short else "the disk is above its floor again"
            log.warning(words, free_bytes=disk.free_bytes, floor_bytes=disk.floor_bytes)
        if not disk.is_short:
            return False
        self._pool.stop_one_for_room()
        if disk.free_bytes < disk.floor_bytes // 2 and self._reserve.release():
            log.warning("the emergency reserve was given up", free_bytes=disk.free_bytes)
        return True

    def _wants_reserve(self) -> bool:
        disk, size_bytes = self._storage.usage(), self._reserve.size_bytes
        return size_bytes > 0 and not self._reserve.is_held and disk.free_bytes - disk.floor_bytes > 2 * size_bytes

    async def _take_reserve(self) -> None:
        try:
            await asyncio.to_thread(self._reserve.hold)
        except OSError as error:
            log.warning("the emergency reserve could not be taken", problem=error.strerror)
            await asyncio.sleep(RELIEF_SECONDS)

    async def _make_room(self, relieve: Callable[[], Awaitable[object]]) -> None:
        try:
            await relieve()
        except (VAssetError, OSError) as error:
            log.warning("no room could be made", problem=str(error))
