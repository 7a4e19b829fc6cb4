"""Turns wake-up messages into claims. A message lost, doubled or late changes nothing: the pool polls SQL besides."""

from __future__ import annotations

import asyncio

from vasset.domain.errors import Unavailable
from vasset.domain.ports import TaskQueue
from vasset.telemetry import faultpoint
from vasset.worker.pool import Pool

RECONNECT_SECONDS = 1.0


class Consumer:
    def __init__(self, queue: TaskQueue, pool: Pool) -> None:
        self._queue = queue
        self._pool = pool

    async def run(self) -> None:
        """Take deliveries while slots are free, acknowledging each after the durable claim. Ends by cancellation only."""
        while True:
            try:
                async with self._queue.deliveries(prefetch=max(1, self._pool.slots.size)) as deliveries:
                    async for delivery in deliveries:
                        faultpoint.reach("K4")
                        if not self._pool.foresaw(delivery.task_id):  # a hint was quicker than the broker
                            await self._pool.offer()
                        faultpoint.reach("K5")
                        await delivery.acknowledge()
            except Unavailable:
                await asyncio.sleep(RECONNECT_SECONDS)
