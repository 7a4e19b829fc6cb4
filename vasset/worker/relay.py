"""Moves outbox rows to the queue in batches of confirms. The row stays until the broker has confirmed."""

from __future__ import annotations

import asyncio

from vasset.domain.errors import Unavailable
from vasset.domain.ports import Outbox, TaskQueue
from vasset.telemetry import faultpoint

BATCH = 64


class Relay:
    """``wake`` after a submit makes it prompt; the poll finds whatever a crash left behind."""

    def __init__(self, outbox: Outbox, queue: TaskQueue, *, poll_seconds: float = 1.0) -> None:
        self._outbox = outbox
        self._queue = queue
        self._poll_seconds = poll_seconds
        self._woken = asyncio.Event()

    def wake(self) -> None:
        self._woken.set()

    async def run(self) -> None:
        """Relay until cancelled. Backs off while SQL or the broker is down."""
        pause_seconds = self._poll_seconds
        while True:
            self._woken.clear()
            try:
                moved = await self.move_once()
                pause_seconds = self._poll_seconds
            except Unavailable:
                moved = 0
                pause_seconds = min(10.0, pause_seconds * 2)
            if moved < BATCH:
                try:
                    async with asyncio.timeout(pause_seconds):
                        await self._woken.wait()
                except TimeoutError:
                    continue

    async def move_once(self) -> int:
        """Publish the oldest unsent messages; answers how many the broker confirmed."""
        messages = await self._outbox.take(limit=BATCH)
        if not messages:
            return 0
        confirmed = await self._queue.publish(messages)
        faultpoint.reach("K3")
        if confirmed:
            await self._outbox.mark_sent(confirmed)
        return len(confirmed)
