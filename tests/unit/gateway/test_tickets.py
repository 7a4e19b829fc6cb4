"""A one-time ticket is worth something, or it is not handed out."""

from __future__ import annotations

import pytest

from vasset.adapters.cache.memory import MemoryCache
from vasset.adapters.cache.redis import RedisCache
from vasset.adapters.redis_connection import open_redis
from vasset.bootstrap.local_servers import free_port
from vasset.domain.errors import DependencyDown
from vasset.gateway.tickets import Bearer, Tickets

SOMEBODY = Bearer(user_id=7, role=1, session_id=3)


async def test_a_ticket_works_once_and_for_its_purpose() -> None:
    tickets = Tickets(MemoryCache())
    ticket = await tickets.issue("ws", SOMEBODY)
    assert await tickets.redeem("file", ticket) is None
    assert await tickets.redeem("ws", ticket) == SOMEBODY
    assert await tickets.redeem("ws", ticket) is None


async def test_a_ticket_that_nobody_keeps_is_not_handed_out() -> None:
    cache = RedisCache(open_redis(f"redis://127.0.0.1:{free_port()}/0"))
    with pytest.raises(DependencyDown):
        await Tickets(cache).issue("ws", SOMEBODY)
    await cache.close()
