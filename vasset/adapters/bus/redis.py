"""Progress over Redis Pub/Sub: ``progress:{task_id}``, with the latest frame of each task kept beside it.

Pub/Sub is at-most-once and a slow subscriber is cut off by the server, so one connection per process reads everything as fast as
it comes and fans out in memory (a connection per client costs 75 KiB each and the P99). The local bus applies latest-wins. It is
open while somebody in the process subscribes: workers only publish, and would otherwise each read what all of them say.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import structlog
from redis.asyncio import Redis
from redis.asyncio.cluster import RedisCluster

from vasset.adapters.bus.codec import decode, encode
from vasset.adapters.bus.subscription import read_messages
from vasset.adapters.redis_connection import FAILURES, TIMEOUT_SECONDS, Subscriber
from vasset.adapters.redis_link import RedisLink
from vasset.adapters.redis_pipeline import Command
from vasset.domain.ports import ProgressBus
from vasset.domain.progress import ProgressFrame
from vasset.usecases.end_tasks import end_tasks

log = structlog.get_logger(__name__)

CHANNEL, LATEST = "progress:", "progress:latest:"
LATEST_SECONDS = 3_600
RECONNECT_SECONDS = (0.1, 0.2, 0.5, 1.0, 2.0)


class RedisProgressBus:
    """``ProgressBus`` on Redis. Use as a context manager. ``connected`` is set while the subscription stands."""

    def __init__(self, client: Redis | RedisCluster, subscriber: Subscriber, local: ProgressBus) -> None:
        self._link = RedisLink(client, "progress")
        self._subscriber = subscriber
        self._local = local
        self._reader: asyncio.Task[None] | None = None
        self._readers = 0
        self.connected = asyncio.Event()

    async def __aenter__(self) -> RedisProgressBus:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stop_reading()
        await self._subscriber.aclose()
        await self._link.close()

    async def publish(self, frames: Sequence[ProgressFrame]) -> None:
        """Never raises for a dead Redis: ticks are lossy, and endings stand in SQL.

        This process's own subscribers are told directly. Else a task that is accepted while the subscription is down is one that
        its user's socket never heard of, and so never asks SQL about; what comes again by Redis has a known ``seq``.
        """
        if not frames:
            return
        await self._local.publish(frames)
        encoded = [(frame.task_id, encode(frame)) for frame in frames]
        try:
            commands = [
                command
                for task_id, data in encoded
                for command in (
                    Command("set", (LATEST + task_id, data, LATEST_SECONDS)),
                    Command("publish", (CHANNEL + task_id, data)),
                )
            ]
            await self._link.ask(self._link.grouped(commands))
        except FAILURES as error:
            log.debug("progress not published", frames=len(frames), error=type(error).__name__)

    async def latest(self, task_ids: Sequence[str]) -> Mapping[str, ProgressFrame]:
        if not task_ids:
            return {}
        found = dict(await self._local.latest(task_ids))
        try:
            client = self._link.client
            read = client.mget_nonatomic if self._link.is_cluster else client.mget
            values = await self._link.ask(read([LATEST + task_id for task_id in task_ids]))
        except FAILURES:
            return found
        for value in values:
            frame = decode(value) if value is not None else None
            if frame is not None and (frame.task_id not in found or found[frame.task_id].seq < frame.seq):
                found[frame.task_id] = frame
        return found

    @asynccontextmanager
    async def subscribe(self, task_ids: Sequence[str] | None = None) -> AsyncIterator[AsyncIterator[ProgressFrame]]:
        """Without Redis after a second too: then it yields what this process publishes, and the rest once Redis is back."""
        self._readers += 1
        try:
            if self._reader is None:
                self._reader = asyncio.create_task(self._read_forever(), name="progress-reader")
            async with self._local.subscribe(task_ids) as frames:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(TIMEOUT_SECONDS):
                        await self.connected.wait()
                yield frames
        finally:
            self._readers -= 1
            if not self._readers:
                await self._stop_reading()

    async def _stop_reading(self) -> None:
        reader, self._reader = self._reader, None
        self.connected.clear()  # before the await: the next subscriber's reader sets it again
        if reader is not None:
            await end_tasks([reader])

    async def _read_forever(self) -> None:
        failures = 0
        while True:
            try:
                async with self._subscriber.pubsub(ignore_subscribe_messages=True) as pubsub:
                    await pubsub.psubscribe(CHANNEL + "*")
                    self.connected.set()
                    failures = 0
                    await read_messages(pubsub, self._relay)
            except FAILURES as error:
                log.warning("progress subscription lost", error=type(error).__name__)
            self.connected.clear()
            await asyncio.sleep(RECONNECT_SECONDS[min(failures, len(RECONNECT_SECONDS) - 1)])
            failures += 1

    async def _relay(self, data: bytes) -> None:
        frame = decode(data)
        if frame is not None:
            await self._local.publish([frame])
