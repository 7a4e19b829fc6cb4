"""Wake-ups, progress and what may be forgotten: queue, bus, cache."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from vasset.domain.ports.tasks import OutboxMessage
from vasset.domain.progress import ProgressFrame


@dataclass(frozen=True, slots=True)
class Delivery:
    """A wake-up for one task. ``acknowledge`` after the durable claim; harmless when lost, doubled or reordered."""

    task_id: str
    acknowledge: Callable[[], Awaitable[None]]


class TaskQueue(Protocol):
    async def publish(self, messages: Sequence[OutboxMessage]) -> Sequence[int]:
        """Publish with confirms; answers the ids that the broker confirmed."""
        ...

    def deliveries(self, *, prefetch: int) -> AbstractAsyncContextManager[AsyncIterator[Delivery]]: ...

    async def depth(self) -> int | None: ...


class ProgressBus(Protocol):
    """Lossy by contract, except that ``latest`` answers a terminal frame for at least a minute."""

    async def publish(self, frames: Sequence[ProgressFrame]) -> None: ...

    async def latest(self, task_ids: Sequence[str]) -> Mapping[str, ProgressFrame]: ...

    def subscribe(
        self, task_ids: Sequence[str] | None = None
    ) -> AbstractAsyncContextManager[AsyncIterator[ProgressFrame]]:
        """Frames of the named tasks, or of all. A slow reader loses ticks, never order: latest wins per task."""
        ...


class Cache(Protocol):
    """Bytes with a time to live; losing all of it at any moment costs latency only."""

    async def get(self, key: str) -> bytes | None: ...

    async def set(self, key: str, value: bytes, *, ttl_seconds: float) -> None: ...

    async def set_if_absent(self, key: str, value: bytes, *, ttl_seconds: float) -> bool: ...

    async def take(self, key: str) -> bytes | None:
        """Get and delete in one step: one-time tickets."""
        ...

    async def delete(self, key: str) -> None: ...

    async def increment(self, key: str, *, ttl_seconds: float) -> int: ...
