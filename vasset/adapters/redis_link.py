"""A Redis client, and whether its server answers: what does not is left alone until it does, so that nobody waits for it twice."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Sequence
from typing import Any, TypeVar

from redis.asyncio import Redis
from redis.asyncio.cluster import RedisCluster

from vasset.adapters.redis_connection import FAILURES
from vasset.adapters.redis_pipeline import Command, GroupedPipeline
from vasset.usecases.absence import Absence

Answer = TypeVar("Answer")


class LeftAlone(ConnectionError):
    """Redis did not answer a moment ago, and has not since. One of ``FAILURES``."""


class RedisLink:
    """``client`` and :meth:`grouped` make commands; :meth:`ask` raises what the client raises, or ``LeftAlone`` at once."""

    def __init__(self, client: Redis | RedisCluster, purpose: str) -> None:
        self.client: Any = client  # the two clients share commands but no typed base
        self.is_cluster = isinstance(client, RedisCluster)
        self._grouped = GroupedPipeline(client)
        self._absence = Absence(f"redis ({purpose})", self._probe)

    async def ask(self, command: Awaitable[Answer]) -> Answer:
        if self._absence.is_on:
            if hasattr(command, "close"):
                command.close()  # a coroutine that never runs must be closed, or Python warns
            raise LeftAlone("Redis does not answer")
        try:
            return await command
        except FAILURES as error:
            self._absence.begin(error)
            raise

    def grouped(self, commands: Sequence[Command]) -> Awaitable[list[Any]]:
        """To be asked: these commands, in one round trip with what others ask at the same moment."""
        return self._grouped.execute(commands)

    async def close(self) -> None:
        await self._absence.close()
        await self.client.aclose()

    async def _probe(self) -> None:
        """Of a cluster any shard: while one is away the others are worth asking."""
        if self.is_cluster:
            await self.client.exists(f"probe:{random.getrandbits(32):x}")
        else:
            await self.client.ping()
