"""Wake-ups inside one process. Losing them with the process is harmless: the SQL row is the task, and workers poll as well."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

from vasset.domain.ports import Delivery, OutboxMessage
from vasset.telemetry import faultpoint


class MemoryQueue:
    """The port ``TaskQueue``. Bounded: what does not fit is not confirmed and stays in the outbox.

    Dead letters have no consumer here; they are confirmed and kept, newest last, for ``dead_letters``.
    """

    def __init__(self, *, capacity: int = 10_000) -> None:
        self._capacity = capacity
        self._waiting: asyncio.Queue[str] = asyncio.Queue(capacity)
        self._dead: list[OutboxMessage] = []

    async def publish(self, messages: Sequence[OutboxMessage]) -> Sequence[int]:
        confirmed: list[int] = []
        for message in messages:
            if message.routing_key == "download.dead":
                self._dead = [*self._dead[-999:], message]
            elif self._waiting.full():
                continue
            else:
                self._waiting.put_nowait(message.task_id)
            confirmed.append(message.id)
        faultpoint.reach("K2")
        return confirmed

    @asynccontextmanager
    async def deliveries(self, *, prefetch: int) -> AsyncIterator[AsyncIterator[Delivery]]:
        """At most ``prefetch`` deliveries are out unacknowledged; those left so at the end are delivered again."""
        window = asyncio.Semaphore(prefetch)
        unacknowledged: dict[int, str] = {}

        async def deliver() -> AsyncGenerator[Delivery, None]:
            number = 0
            while True:
                await window.acquire()
                try:
                    task_id = await self._waiting.get()
                except BaseException:
                    window.release()
                    raise
                number += 1
                unacknowledged[number] = task_id
                yield Delivery(task_id, _acknowledgement(unacknowledged, number, window))

        stream = deliver()
        try:
            yield stream
        finally:
            await stream.aclose()
            for task_id in unacknowledged.values():
                if not self._waiting.full():
                    self._waiting.put_nowait(task_id)

    async def depth(self) -> int | None:
        return self._waiting.qsize()

    @property
    def dead_letters(self) -> Sequence[OutboxMessage]:
        return tuple(self._dead)


def _acknowledgement(
    unacknowledged: dict[int, str], number: int, window: asyncio.Semaphore
) -> Callable[[], Awaitable[None]]:
    async def acknowledge() -> None:
        if unacknowledged.pop(number, None) is not None:
            window.release()

    return acknowledge
