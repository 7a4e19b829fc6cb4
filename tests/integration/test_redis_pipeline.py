"""Commands of several callers in one round trip: answers reach whom they belong to, whatever happens to the others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from tests.support.cutting_proxy import cutting_proxy
from vasset.adapters.redis_connection import FAILURES, open_redis
from vasset.adapters.redis_pipeline import Command, GroupedPipeline
from vasset.bootstrap.local_servers import LocalServer

pytestmark = [pytest.mark.servers, pytest.mark.xdist_group("servers")]


@pytest_asyncio.fixture
async def client(redis_url: str) -> AsyncIterator[Redis]:
    async with Redis.from_url(redis_url) as opened:
        yield opened


async def reads(client: Redis) -> int:
    """How many system calls have brought the server its commands."""
    return int((await client.info("stats"))["total_reads_processed"])


async def test_each_caller_gets_the_answers_to_its_own_commands(client: Redis) -> None:
    grouped = GroupedPipeline(client)
    pairs = await asyncio.gather(
        *(
            grouped.execute([Command("set", (f"k{n}", n, 60)), Command("incr", (f"k{n}",))])
            if n % 2
            else grouped.execute([Command("incr", (f"k{n}",))])
            for n in range(600)
        )
    )
    assert pairs == [[True, n + 1] if n % 2 else [1] for n in range(600)]


async def test_what_is_asked_at_once_goes_together(client: Redis) -> None:
    grouped = GroupedPipeline(client)
    await grouped.execute([Command("incr", ("warm",))])
    before = await reads(client)
    await asyncio.gather(*(grouped.execute([Command("incr", ("count",))]) for _ in range(200)))
    assert await client.get("count") == b"200"
    assert await reads(client) - before < 20, "each command was a round trip of its own"


async def test_a_callers_mistake_is_its_own(client: Redis) -> None:
    grouped = GroupedPipeline(client)
    await client.set("text", "x")
    asked = [grouped.execute([Command("incr", ("text" if n % 3 == 1 else f"fine{n}",))]) for n in range(9)]
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    assert [isinstance(outcome, ResponseError) for outcome in outcomes] == [n % 3 == 1 for n in range(9)]
    with pytest.raises(ResponseError):
        await grouped.execute([Command("set", ("a", 1)), Command("incr", ("text",))])


@pytest.mark.parametrize("victim", [0, 3])
async def test_a_caller_that_gives_up_takes_nobody_along(client: Redis, victim: int) -> None:
    """The first one is the one that goes alone; the others wait for it."""
    grouped = GroupedPipeline(client)
    callers = [asyncio.create_task(grouped.execute([Command("incr", (f"c{n}",))])) for n in range(8)]
    await asyncio.sleep(0)
    callers[victim].cancel()
    outcomes = await asyncio.wait_for(asyncio.gather(*callers, return_exceptions=True), 5)
    assert [outcome for n, outcome in enumerate(outcomes) if n != victim] == [[1]] * 7
    assert isinstance(outcomes[victim], asyncio.CancelledError)
    assert await asyncio.wait_for(grouped.execute([Command("incr", ("after",))]), 5) == [1]


async def test_an_outage_fails_everybody_and_the_next_call_works(redis_server: LocalServer) -> None:
    async with cutting_proxy(redis_server.port) as proxy:
        client = open_redis(f"redis://127.0.0.1:{proxy.port}/0")
        grouped = GroupedPipeline(client)
        await grouped.execute([Command("ping", ())])
        proxy.refuse()
        outcomes = await asyncio.gather(
            *(grouped.execute([Command("incr", ("x",))]) for _ in range(20)), return_exceptions=True
        )
        assert all(isinstance(outcome, FAILURES) for outcome in outcomes)
        proxy.heal()
        assert await grouped.execute([Command("ping", ())]) == [True]
        await client.aclose()
