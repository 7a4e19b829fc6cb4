"""Making room on a full disk: the engine removes files, this module says which and forgets their rows."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vasset._engine import DiskFull, Relief, StorageError, relieve_disk
from vasset.domain.download import Mode
from vasset.domain.errors import StorageFailed
from vasset.domain.history import HistoryEntry
from vasset.domain.ports import Clock, FileStore

BATCH = 500

# Reasons of the engine after which nothing is at the path any more.
_GONE = frozenset({"gone"})


@dataclass(frozen=True, slots=True)
class Relieved:
    """``used_fraction`` is of the whole filesystem, afterwards; ``kept`` pairs paths that had to stay with the reason."""

    freed_bytes: int
    freed_files: int
    used_fraction: float
    reached_target: bool
    kept: tuple[tuple[str, str], ...]


class DiskRelief:
    """From the high watermark to the low one, oldest expired first. Callable, as the janitor wants it.

    A quick file goes only when its row says that it has expired, and not while it is locked, open, linked or replaced.
    Archive files never go this way, also not those of deleted rows, which are the janitor's. A crash between removal and
    row leaves a row whose file is gone, and the next round forgets it.
    """

    def __init__(
        self, root: Path, files: FileStore, clock: Clock, *, clean_percent: float, target_percent: float
    ) -> None:
        self._root = root
        self._files = files
        self._clock = clock
        self._high = clean_percent / 100.0
        self._low = min(target_percent, clean_percent) / 100.0

    async def __call__(self) -> None:
        await self.relieve()

    async def relieve(self) -> Relieved:
        """Work until the target is reached or no expired file is left that may go. Raises ``StorageFailed``."""
        freed_bytes, freed_files = 0, 0
        kept: dict[str, str] = {}
        high = self._high
        while True:
            entries = [entry for entry in await self._files.expired(limit=BATCH) if entry.file_path is not None]
            relief = await asyncio.to_thread(self._remove, entries, high)
            high = self._low  # the first round passed the high mark; from now on only the target counts
            freed_bytes += relief.freed_bytes
            freed_files += len(relief.freed)
            kept.update((path, reason) for path, reason in relief.kept if reason not in _GONE)
            forgotten = await self._forget(entries, relief)
            if relief.is_relieved or not forgotten:
                return Relieved(freed_bytes, freed_files, relief.used_after, relief.is_relieved, tuple(kept.items()))

    def _remove(self, entries: Sequence[HistoryEntry], high: float) -> Relief:
        now = int(self._clock.now().timestamp())
        candidates = [
            (entry.file_path or "", _expires_at(entry, now), entry.mode is Mode.ARCHIVE, False) for entry in entries
        ]
        try:
            return relieve_disk(self._root, candidates, high=high, low=self._low, now=now)
        except (DiskFull, StorageError) as error:
            raise StorageFailed(f"could not make room in {self._root}: {error}", retryable=True) from error

    async def _forget(self, entries: Sequence[HistoryEntry], relief: Relief) -> int:
        gone = {*relief.freed, *(path for path, reason in relief.kept if reason in _GONE)}
        rows = [entry for entry in entries if entry.file_path in gone]
        for entry in rows:
            await self._files.forget_file(entry.id, reason="disk pressure")
        return len(rows)


def _expires_at(entry: HistoryEntry, now: int) -> int:
    """For the order. The database has already said that it is over, by its own clock, so ours does not get to object."""
    return now if entry.expire_at is None else min(int(entry.expire_at.timestamp()), now)
