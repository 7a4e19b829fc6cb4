"""Mends and cleans on a schedule: lost leases, expired quick files, folders nobody owns, a disk that is too full, rows kept for long enough.

Every deletion is proven by a row first; while SQL does not answer nothing is deleted. Archive files are never candidates.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from vasset.domain.download import TaskStatus
from vasset.domain.errors import NotFound, StorageFailed, Unavailable
from vasset.domain.ports import Clock, FileStore, Retention, Storage, TaskStore
from vasset.telemetry import faultpoint

EXPIRED_BATCH = 200
FOLDER_BATCH = 200
ROW_BATCH = 500
CLOCK_JUMP_SECONDS = 3_600.0


@dataclass(frozen=True, slots=True)
class JanitorTimes:
    reap_seconds: float = 5.0
    clean_seconds: float = 60.0


@dataclass(slots=True)
class Cleaned:
    """What one round did."""

    reaped: int = 0
    kept: int = 0
    expired: int = 0
    folders: int = 0
    rows: int = 0
    relieved: bool = False


class TaskFolders(Protocol):
    """Tasks with unfinished files below ``tmp/``, which the storage adapter lists."""

    def unfinished(self) -> Sequence[str]: ...


class Janitor:
    """One per process; two at once are harmless. ``relieve`` is the engine's disk-pressure cleanup."""

    def __init__(
        self,
        store: TaskStore,
        files: FileStore,
        storage: Storage,
        folders: TaskFolders,
        retention: Retention,
        clock: Clock,
        *,
        times: JanitorTimes,
        clean_percent: float,
        relieve: Callable[[], Awaitable[object]] | None = None,
        on_reaped: Callable[[Sequence[str]], None] = lambda task_ids: None,
        report: Callable[[str, BaseException], None] = lambda what, error: None,
    ) -> None:
        self._store = store
        self._files = files
        self._storage = storage
        self._folders = folders
        self._retention = retention
        self._clock = clock
        self._times = times
        self._clean_percent = clean_percent
        self._relieve = relieve
        self._on_reaped = on_reaped
        self._report = report
        self._last_look: tuple[float, float] | None = None

    async def run(self) -> None:
        """Work until cancelled."""
        clean_at = self._clock.monotonic()
        while True:
            try:
                await self.reap()
                if self._clock.monotonic() >= clean_at:
                    clean_at = self._clock.monotonic() + self._times.clean_seconds
                    await self.clean()
            except Unavailable:
                pass  # without SQL nothing is known, so nothing is touched
            except (StorageFailed, OSError) as error:
                self._report("cleaning the data folder", error)
            await asyncio.sleep(self._times.reap_seconds)

    async def reap(self) -> int:
        """Queue again what lost its worker."""
        reaped = await self._store.reap()
        if reaped:
            self._on_reaped(reaped)
        return len(reaped)

    async def clean(self) -> Cleaned:
        """One round over files and folders. Raises ``DependencyDown`` and then has deleted nothing unproven."""
        cleaned = Cleaned()
        if self._clock_jumped():
            return cleaned
        cleaned.kept = await self._archive_kept()
        if self._relieve is not None and self._storage.usage().is_over(self._clean_percent):
            await self._relieve()
            cleaned.relieved = True
        cleaned.expired = await self._remove_expired()
        cleaned.folders = await self._remove_abandoned_folders()
        cleaned.rows = await self._retention.forget(limit=ROW_BATCH)
        return cleaned

    async def _archive_kept(self) -> int:
        """Quick downloads whose users chose to keep them leave ``tmp/``."""
        entries = await self._files.misplaced(limit=EXPIRED_BATCH)
        for entry in entries:
            with contextlib.suppress(NotFound):
                await self._files.promote(entry.id, await self._storage.promote(entry))
        return len(entries)

    async def _remove_expired(self) -> int:
        entries = await self._files.expired(limit=EXPIRED_BATCH)
        for entry in entries:
            if entry.file_path is not None:
                await self._storage.delete(entry.file_path)
                faultpoint.reach("K12")
            await self._files.forget_file(entry.id, reason="expired")
        return len(entries)

    async def _remove_abandoned_folders(self) -> int:
        """Unfinished files of tasks that have ended. A folder of a task SQL does not know is left to ``vasset doctor``."""
        removed = 0
        for task_id in (await asyncio.to_thread(self._folders.unfinished))[:FOLDER_BATCH]:
            with contextlib.suppress(NotFound):
                task = await self._store.get(task_id, user_id=None)
                if task.status.is_terminal:
                    withdraw = task.status is not TaskStatus.COMPLETED
                    await self._storage.discard_workspace(task_id, fence=task.fence, withdraw=withdraw)
                    removed += 1
        return removed

    def _clock_jumped(self) -> bool:
        """Whether wall time ran away since the last round: expiry is not believed then (a wrong clock would empty the disk)."""
        wall, steady = self._clock.now().timestamp(), self._clock.monotonic()
        last, self._last_look = self._last_look, (wall, steady)
        return last is not None and abs((wall - last[0]) - (steady - last[1])) > CLOCK_JUMP_SECONDS
