"""The cache on Redis. Every key gets a time to live; wiping Redis at any moment costs latency only.

Reads and writes that fail are misses: the caller computes. The three operations whose answer is a decision (``take``,
``set_if_absent``, ``increment``) raise ``DependencyDown`` instead, for a guess would be a lie. After a failure Redis is left
alone until it answers a ping of ours, so that a dead server costs one timeout and not one per request.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TypeVar

from redis.asyncio import Redis
from redis.asyncio.cluster import RedisCluster

from vasset.adapters.redis_connection import FAILURES
from vasset.adapters.redis_link import RedisLink
from vasset.adapters.redis_pipeline import Command
from vasset.domain.errors import DependencyDown

Answer = TypeVar("Answer")
RETRY_SECONDS = 1.0

# INCR and EXPIRE in one step: a crash between the two would leave a counter that never resets.
INCREMENT = """
local count = redis.call('INCR', KEYS[1])
if count == 1 then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
return count
"""


class RedisCache:
    """``Cache`` on Redis ≥ 6.2 (``GETDEL``)."""

    def __init__(self, client: Redis | RedisCluster, *, prefix: str = "") -> None:
        self._link = RedisLink(client, "cache")
        self._prefix = prefix
        self.hits = 0
        self.misses = 0

    async def get(self, key: str) -> bytes | None:
        try:
            value = await self._ask(self._link.client.get(self._prefix + key))
        except DependencyDown:
            value = None
        if value is None:
            self.misses += 1
            return None
        self.hits += 1
        return bytes(value)

    async def set(self, key: str, value: bytes, *, ttl_seconds: float) -> None:
        try:
            await self._ask(self._link.client.set(self._prefix + key, value, px=_milliseconds(ttl_seconds)))
        except DependencyDown:
            return

    async def set_if_absent(self, key: str, value: bytes, *, ttl_seconds: float) -> bool:
        return bool(
            await self._ask(self._link.client.set(self._prefix + key, value, px=_milliseconds(ttl_seconds), nx=True))
        )

    async def take(self, key: str) -> bytes | None:
        value = await self._ask(self._link.client.getdel(self._prefix + key))
        return None if value is None else bytes(value)

    async def delete(self, key: str) -> None:
        try:
            await self._ask(self._link.client.delete(self._prefix + key))
        except DependencyDown:
            return

    async def increment(self, key: str, *, ttl_seconds: float) -> int:
        counting = Command("eval", (INCREMENT, 1, self._prefix + key, _milliseconds(ttl_seconds)))
        (count,) = await self._ask(self._link.grouped([counting]))
        return int(count)

    async def ping(self) -> None:
        """Raise ``DependencyDown`` unless Redis answers."""
        await self._ask(self._link.client.ping())

    async def close(self) -> None:
        await self._link.close()

    async def _ask(self, command: Awaitable[Answer]) -> Answer:
        try:
            return await self._link.ask(command)
        except FAILURES as error:
            raise DependencyDown(
                "Redis does not answer; try again in a moment.", retry_after_seconds=RETRY_SECONDS
            ) from error


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))
