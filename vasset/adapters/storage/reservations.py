"""Space promised to running tasks: what the disk shows as free is not free when fifty downloads were started on it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from vasset.domain.errors import DiskFull, DiskPressure
from vasset.domain.ports import DiskUsage


class Reservations:
    """``written`` bytes of a reservation show up as used on the disk too; counting both errs on the safe side."""

    def __init__(self, usage: Callable[[], DiskUsage], *, alert_percent: float) -> None:
        self._usage = usage
        self._alert_percent = alert_percent
        self._reserved = 0

    @property
    def reserved_bytes(self) -> int:
        return self._reserved

    @asynccontextmanager
    async def hold(self, size_bytes: int) -> AsyncIterator[None]:
        """Raises ``DiskFull`` when the task could not fit on the disk as it is, ``DiskPressure`` when others must finish first."""
        usage = self._usage()
        mib = size_bytes >> 20
        if size_bytes + usage.floor_bytes > usage.free_bytes:
            raise DiskFull(
                f"the disk is full: the download needs {mib} MiB, {usage.free_bytes >> 20} MiB are free and "
                f"{usage.floor_bytes >> 20} of them stay free; delete files and retry"
            )
        if self._reserved and usage.is_over(self._alert_percent, more_bytes=size_bytes):
            raise DiskPressure(f"the download waits: {mib} MiB do not fit beside the downloads that are running")
        self._reserved += size_bytes
        try:
            yield
        finally:
            self._reserved -= size_bytes
