"""One worker as operators see it, and what guards its way out: exits and breaker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class WorkerState:
    """``waiting_for`` says why admission is closed (disk, memory, load), in words."""

    name: str
    slots: int
    draining: bool
    task_ids: Sequence[str]
    waiting_for: str | None
    breakers: Mapping[str, str]
    extractor_version: str


class WorkerControl(Protocol):
    """One worker as its operators see it; ``worker/control.py`` implements it over the pool."""

    def state(self) -> WorkerState: ...

    def resize(self, slots: int) -> None: ...

    def begin_drain(self) -> None:
        """Stop claiming and hand leases back; returns at once. Idempotent."""
        ...

    def nudge(self, task_id: str) -> None: ...

    def wake(self) -> None: ...


@dataclass(frozen=True, slots=True)
class ProxyLease:
    """One third-party exit for one task, from extraction to the last byte. ``url`` holds credentials: never logged.

    ``id`` names the lease, ``exit`` what is leased: other tasks get the same one.
    """

    id: str
    exit: str
    url: str
    country: str | None = None


class ProxyPool(Protocol):
    async def lease(self, task_id: str, site: str, *, attempt: int) -> ProxyLease | None:
        """None when this site's policy is to go directly."""
        ...

    async def report(self, lease: ProxyLease, site: str, *, succeeded: bool, blamed: bool) -> None: ...


class Breaker(Protocol):
    """Per site × exit. Fed by upstream faults only."""

    def check(self, key: str) -> None:
        """Raise ``BreakerOpen`` with ``retry_after_seconds``, or take a half-open probe permit."""
        ...

    def record(self, key: str, *, succeeded: bool) -> None: ...

    def states(self) -> Mapping[str, str]: ...
