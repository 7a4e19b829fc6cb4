"""Hints across processes: "somebody asked something of this task". Losing one costs a heartbeat, never more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog
from redis.asyncio import Redis
from redis.asyncio.cluster import RedisCluster

from vasset.adapters.bus.subscription import read_messages
from vasset.adapters.redis_connection import FAILURES, Subscriber
from vasset.adapters.redis_link import RedisLink
from vasset.adapters.redis_pipeline import Command

log = structlog.get_logger(__name__)

CHANNEL = "hints:tasks"
NEW_WORK = "*"
"""In place of a task's id; no task is called that, so a worker only looks for due ones."""
RECONNECT_SECONDS = 1.0
MAX_PENDING = 1_000


class RedisHintSender:
    """``nudge`` and ``wake`` for a gateway: they return at once and send in the background; under pressure hints are dropped."""

    def __init__(self, client: Redis | RedisCluster, *, wake_relay: Callable[[], None]) -> None:
        self._link = RedisLink(client, "hints")
        self._wake_relay = wake_relay
        self._pending: set[asyncio.Task[None]] = set()
        self._waking: asyncio.Task[None] | None = None
        self._wake_again = False

    def nudge(self, task_id: str) -> None:
        if len(self._pending) >= MAX_PENDING:
            return
        sending = asyncio.get_running_loop().create_task(self._send(task_id))
        self._pending.add(sending)
        sending.add_done_callback(self._pending.discard)

    def wake(self) -> None:
        """Of the submissions that come in while one such hint is under way, one more speaks for all."""
        self._wake_relay()
        self._wake_again = True
        if self._waking is None:
            self._waking = asyncio.get_running_loop().create_task(self._send_wakes())

    async def close(self) -> None:
        """Send what is pending, and close the client."""
        if self._waking is not None:
            await self._waking
        if self._pending:
            await asyncio.gather(*self._pending, return_exceptions=True)
        await self._link.close()

    async def _send_wakes(self) -> None:
        try:
            while self._wake_again:
                self._wake_again = False
                await self._send(NEW_WORK)
        finally:
            self._waking = None

    async def _send(self, task_id: str) -> None:
        try:
            await self._link.ask(self._link.grouped([Command("publish", (CHANNEL, task_id))]))
        except FAILURES as error:
            log.debug("hint lost", error=type(error).__name__)


class RedisHintReceiver:
    """Calls ``nudge`` in this worker for every hint, its own tasks or not: an unknown id is looked up in a dictionary and wakes the pool."""

    def __init__(self, subscriber: Subscriber, nudge: Callable[[str], None]) -> None:
        self._subscriber = subscriber
        self._nudge = nudge

    async def run(self) -> None:
        """Until cancelled; reconnects by itself."""
        while True:
            try:
                async with self._subscriber.pubsub(ignore_subscribe_messages=True) as pubsub:
                    await pubsub.subscribe(CHANNEL)
                    await read_messages(pubsub, self._take)
            except FAILURES as error:
                log.info("hints interrupted", error=type(error).__name__)
            await asyncio.sleep(RECONNECT_SECONDS)

    async def _take(self, hint: bytes) -> None:
        if len(hint) <= 64:
            self._nudge(hint.decode("utf-8", errors="replace"))
