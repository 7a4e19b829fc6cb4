"""The outbox relay of a gateway: what it accepted reaches the broker within milliseconds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from vasset.domain.ports import Outbox, TaskQueue
from vasset.usecases.end_tasks import end_tasks
from vasset.worker.relay import Relay

RESTART_SECONDS = 1.0


class RelayOnly:
    """Hints where there is no Redis: the relay is woken, running tasks learn by heartbeat."""

    def __init__(self, wake_relay: Callable[[], None]) -> None:
        self._wake_relay = wake_relay

    def nudge(self, task_id: str) -> None:
        """Nobody to tell."""

    def wake(self) -> None:
        self._wake_relay()


@asynccontextmanager
async def relaying(
    outbox: Outbox, queue: TaskQueue, report: Callable[[str, BaseException], None]
) -> AsyncIterator[Relay]:
    relay = Relay(outbox, queue)

    async def run() -> None:
        while True:
            try:
                await relay.run()
            except Exception as error:
                report("relaying the outbox", error)
            await asyncio.sleep(RESTART_SECONDS)

    running = asyncio.create_task(run(), name="relay")
    try:
        yield relay
    finally:
        await end_tasks([running])
