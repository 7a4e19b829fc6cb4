"""Whether this machine can take one more download: disk watermark, memory and load, read by psutil at most once a second."""

from __future__ import annotations

from dataclasses import dataclass

import psutil

from vasset.domain.ports import Clock, Storage
from vasset.domain.progress import Waiting


@dataclass(frozen=True, slots=True)
class AdmissionBounds:
    disk_alert_percent: float = 85.0
    min_available_memory_mib: int = 256
    max_load_per_core: float = 16.0


class Admission:
    def __init__(self, storage: Storage, clock: Clock, bounds: AdmissionBounds) -> None:
        self._storage = storage
        self._clock = clock
        self._bounds = bounds
        self._cores = psutil.cpu_count() or 1
        self._checked_at = float("-inf")
        self._obstacle: Waiting | None = None

    def obstacle(self) -> Waiting | None:
        """Why no new download may start now, in words for tasks, the log and ``/readyz``; None when one may."""
        now = self._clock.monotonic()
        if now - self._checked_at >= 1.0:
            self._checked_at = now
            self._obstacle = self._look()
        return self._obstacle

    def _look(self) -> Waiting | None:
        disk = self._storage.usage()
        if disk.is_short:
            free, floor = disk.free_bytes >> 20, disk.floor_bytes >> 20
            return Waiting("disk", f"the disk is full: {free} MiB are free, and {floor} MiB are kept free")
        if disk.is_over(self._bounds.disk_alert_percent):
            used_percent = 100.0 * disk.used_fraction
            alert = self._bounds.disk_alert_percent
            return Waiting("disk", f"the disk is {used_percent:.0f} % full; downloads start again below {alert:g} %")
        available_mib = psutil.virtual_memory().available >> 20
        if available_mib < self._bounds.min_available_memory_mib:
            needed = self._bounds.min_available_memory_mib
            return Waiting("memory", f"only {available_mib} MiB of memory are available; {needed} are needed")
        load = psutil.getloadavg()[0] / self._cores
        if load > self._bounds.max_load_per_core:
            most = self._bounds.max_load_per_core
            return Waiting("load", f"the load is {load:.1f} per core; downloads start again below {most:g}")
        return None
