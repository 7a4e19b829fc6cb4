"""Publishes the progress of all running tasks: one loop, one bus call, ``progress_hz`` times a second, no SQL."""

from __future__ import annotations

import asyncio

from vasset.domain.errors import Unavailable
from vasset.domain.ports import ProgressBus
from vasset.worker.pool import Pool


class Ticker:
    def __init__(self, pool: Pool, bus: ProgressBus, *, hertz: float) -> None:
        self._pool = pool
        self._bus = bus
        self._period_seconds = 1.0 / hertz

    async def run(self) -> None:
        """Tick until cancelled; the period does not drift, and ticks that came too late are skipped."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            due = max(due + self._period_seconds, loop.time())
            await asyncio.sleep(due - loop.time())
            frames = [frame for run in self._pool.runs() if (frame := run.tick()) is not None]
            if frames:
                try:
                    await self._bus.publish(frames)
                except Unavailable:
                    continue  # ticks may be lost
