"""Where files lie, here or on another worker."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from vasset.domain.download import Lease
from vasset.domain.history import HistoryEntry, PublishedFile


class Storage(Protocol):
    """Files under the data root (REQUIREMENTS A3, F)."""

    def workspace(self, task_id: str, fence: int) -> Path:
        """``tmp/{task_id}/.work-{fence}``, created if missing: what an earlier fence left in it serves this one.

        Taking over renames the folder, so every path a stale worker still knows is gone. A stale fence raises ``LeaseLost``.
        """
        ...

    def published(self, task_id: str, fence: int) -> PublishedFile | None:
        """The file an earlier fence made visible before it died, when its row never heard of it: only ``complete`` is missing."""
        ...

    async def publish(
        self, source: Path, lease: Lease, *, title: str, ext: str, digest: tuple[str, str]
    ) -> PublishedFile:
        """fsync → no-replace rename → fsync folder. ``digest`` is (algorithm, hex) of ``source``. A stale fence raises ``LeaseLost``."""
        ...

    def resolve(self, relative_path: str) -> Path:
        """The absolute path of a published file, without following a symlink out of the root."""
        ...

    def open(self, relative_path: str) -> int:
        """A descriptor for reading that nobody can race or redirect. Raises ``NotFound`` for anything but a published file."""
        ...

    async def promote(self, entry: HistoryEntry) -> PublishedFile:
        """Move a kept quick download to its user's archive. Repeating it after a crash finds the moved file."""
        ...

    async def delete(self, relative_path: str) -> None: ...

    async def discard_workspace(self, task_id: str, *, fence: int | None = None, withdraw: bool = False) -> None:
        """Remove unfinished files; with ``fence`` only those of that fence or an earlier one. Published files stay.

        ``withdraw`` is for a task whose row ended without a file: one that was published before a crash, and that no row will ever
        name, goes too.
        """
        ...

    def usage(self) -> DiskUsage: ...

    def reserve(self, size_bytes: int) -> AbstractAsyncContextManager[None]:
        """Hold space for one task; raises ``DiskPressure`` above the watermark, ``DiskFull`` when it cannot fit."""
        ...


class RemoteFiles(Protocol):
    """Files on workers' own disks, where there is no shared folder."""

    def read(self, owner: str, relative_path: str, *, offset: int, length: int) -> AsyncIterator[bytes]:
        """Raises ``NotFound`` or ``DependencyDown`` at the first step."""
        ...


@dataclass(frozen=True, slots=True)
class DiskUsage:
    total_bytes: int
    used_bytes: int
    free_bytes: int
    reserved_bytes: int
    floor_bytes: int = 0
    """Stays free whatever is downloaded."""
    plenty_bytes: int | None = None
    """With so much free a percentage says nothing."""

    @property
    def used_fraction(self) -> float:
        return (self.used_bytes + self.reserved_bytes) / self.total_bytes if self.total_bytes else 1.0

    @property
    def is_short(self) -> bool:
        """Nothing may be written any more but what keeps the service usable."""
        return self.free_bytes < self.floor_bytes

    def is_over(self, percent: float, *, more_bytes: int = 0) -> bool:
        """Whether the disk, with ``more_bytes`` besides, is fuller than that and has not plenty left all the same."""
        taken = self.used_bytes + self.reserved_bytes + more_bytes
        left = self.free_bytes - self.reserved_bytes - more_bytes
        has_plenty = self.plenty_bytes is not None and left >= self.plenty_bytes
        return not has_plenty and 100.0 * taken / max(1, self.total_bytes) >= percent
