"""The in-process queue, bus and cache are products, not test doubles: bounded, ordered, and honest about what they lose."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.clock import FakeClock
from vasset.adapters.bus.memory import LATEST_SECONDS, MemoryBus
from vasset.adapters.cache.memory import MemoryCache
from vasset.adapters.queue.memory import MemoryQueue
from vasset.domain.download import Phase
from vasset.domain.ports import OutboxMessage
from vasset.domain.progress import ProgressFrame


def message(number: int, key: str = "download.quick") -> OutboxMessage:
    return OutboxMessage(number, key, f"t{number}", {})


def frame(task_id: str, seq: int, phase: Phase = Phase.DOWNLOADING) -> ProgressFrame:
    return ProgressFrame(task_id=task_id, user_id=1, seq=seq, phase=phase, timestamp=0.0)


async def soon(awaitable: Any) -> Any:
    return await asyncio.wait_for(awaitable, 10)


# --- queue -----------------------------------------------------------------------------------------------------------


async def test_what_does_not_fit_is_not_confirmed() -> None:
    queue = MemoryQueue(capacity=2)
    assert await queue.publish([message(n) for n in range(1, 5)]) == [1, 2]
    assert await queue.depth() == 2


async def test_no_more_than_the_prefetch_is_out_unacknowledged() -> None:
    queue = MemoryQueue()
    await queue.publish([message(n) for n in range(1, 5)])
    async with queue.deliveries(prefetch=2) as deliveries:
        first, second = await soon(anext(deliveries)), await soon(anext(deliveries))
        third = asyncio.ensure_future(anext(deliveries))
        await asyncio.sleep(0)
        assert not third.done()
        await first.acknowledge()
        await first.acknowledge()  # twice is harmless and frees one place, not two
        assert (await soon(third)).task_id == "t3"
        assert second.task_id == "t2"


async def test_unacknowledged_deliveries_come_again() -> None:
    queue = MemoryQueue()
    await queue.publish([message(1), message(2)])
    async with queue.deliveries(prefetch=5) as deliveries:
        await (await soon(anext(deliveries))).acknowledge()
        await soon(anext(deliveries))
    async with queue.deliveries(prefetch=5) as deliveries:
        assert (await soon(anext(deliveries))).task_id == "t2"


async def test_a_consumer_that_is_cancelled_while_waiting_loses_nothing() -> None:
    queue = MemoryQueue()
    async with queue.deliveries(prefetch=1) as deliveries:
        waiting = asyncio.ensure_future(anext(deliveries))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    await queue.publish([message(1)])
    async with queue.deliveries(prefetch=1) as deliveries:
        assert (await soon(anext(deliveries))).task_id == "t1"


async def test_dead_letters_are_kept_apart_and_bounded() -> None:
    queue = MemoryQueue(capacity=1)
    await queue.publish([message(n, "download.dead") for n in range(1_500)])
    assert await queue.depth() == 0
    assert len(queue.dead_letters) == 1_000
    assert queue.dead_letters[-1].id == 1_499


# --- bus -------------------------------------------------------------------------------------------------------------


async def test_a_slow_reader_loses_ticks_but_neither_order_nor_the_ending() -> None:
    bus = MemoryBus()
    async with bus.subscribe() as frames:
        await bus.publish([frame("a", seq) for seq in range(1, 1_000)] + [frame("b", 1)])
        await bus.publish([frame("a", 1_000, Phase.COMPLETED)])
        received = [await soon(anext(frames)), await soon(anext(frames))]
    assert [(got.task_id, got.seq) for got in received] == [("a", 1_000), ("b", 1)]


async def test_a_subscription_hears_only_the_tasks_it_named() -> None:
    bus = MemoryBus()
    async with bus.subscribe(["a"]) as frames:
        await bus.publish([frame("b", 1), frame("a", 1)])
        assert (await soon(anext(frames))).task_id == "a"


async def test_a_stale_workers_frame_is_dropped() -> None:
    bus = MemoryBus()
    async with bus.subscribe(["a"]) as frames:
        await bus.publish([frame("a", 2_000_000)])
        await bus.publish([frame("a", 1_999_999)])
        assert (await soon(anext(frames))).seq == 2_000_000
        assert (await bus.latest(["a"]))["a"].seq == 2_000_000


async def test_the_latest_frame_outlives_its_minute_and_then_goes() -> None:
    clock = FakeClock()
    bus = MemoryBus(clock=clock)
    await bus.publish([frame("a", 1, Phase.COMPLETED)])
    clock.advance(60)
    assert set(await bus.latest(["a", "unknown"])) == {"a"}
    clock.advance(LATEST_SECONDS - 60)
    assert await bus.latest(["a"]) == {}


# --- cache -----------------------------------------------------------------------------------------------------------


async def test_entries_end_with_their_time() -> None:
    clock = FakeClock()
    cache = MemoryCache(clock=clock)
    await cache.set("a", b"1", ttl_seconds=10)
    clock.advance(9.9)
    assert await cache.get("a") == b"1"
    clock.advance(0.1)
    assert await cache.get("a") is None
    assert await cache.set_if_absent("a", b"2", ttl_seconds=10)
    assert not await cache.set_if_absent("a", b"3", ttl_seconds=10)
    await cache.delete("a")
    assert await cache.take("a") is None


async def test_a_ticket_is_taken_once_by_one() -> None:
    cache = MemoryCache()
    await cache.set("ticket", b"1", ttl_seconds=10)
    taken = await asyncio.gather(*(cache.take("ticket") for _ in range(50)))
    assert [value for value in taken if value] == [b"1"]


async def test_counting_does_not_prolong_the_count() -> None:
    clock = FakeClock()
    cache = MemoryCache(clock=clock)
    for expected in range(1, 6):
        assert await cache.increment("n", ttl_seconds=10) == expected
        clock.advance(2)
    assert await cache.increment("n", ttl_seconds=10) == 1


async def test_the_entry_unused_for_longest_makes_room() -> None:
    cache = MemoryCache(counters_max_bytes=8_900)
    for key in "abcdefgh":
        await cache.set(key, b"x" * 900, ttl_seconds=60)
    await cache.get("a")
    await cache.set("i", b"x" * 900, ttl_seconds=60)
    assert [key for key in "abcdefghi" if await cache.get(key)] == list("acdefghi")


async def test_an_entry_that_would_take_an_eighth_of_the_place_is_not_kept() -> None:
    cache = MemoryCache(max_bytes=8_000)
    await cache.set("parser:url:a", b"x" * 500, ttl_seconds=60)
    await cache.set("parser:url:b", b"x" * 1_001, ttl_seconds=60)
    assert await cache.get("parser:url:b") is None
    assert await cache.get("parser:url:a") is not None


async def test_answers_of_pages_push_out_no_counter_and_no_ticket() -> None:
    """A hostile page chooses how large its answer is; a minute of guessing must not be forgotten for it."""
    cache = MemoryCache(max_bytes=80_000)
    await cache.increment("auth:attempts:x", ttl_seconds=60)
    await cache.set_if_absent("ticket:ws:y", b"somebody", ttl_seconds=30)
    for number in range(100):
        await cache.set(f"parser:url:{number}", b"x" * 9_000, ttl_seconds=3_600)
    assert await cache.increment("auth:attempts:x", ttl_seconds=60) == 2
    assert await cache.take("ticket:ws:y") == b"somebody"


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 300), st.sampled_from(["set", "delete", "take"]))))
def test_the_byte_count_never_drifts(steps: list[tuple[str, int, str]]) -> None:
    async def run() -> None:
        cache = MemoryCache(counters_max_bytes=3_000)
        for key, size, step in steps:
            if step == "set":
                await cache.set(key, b"x" * size, ttl_seconds=60)
            else:
                await getattr(cache, step)(key)
            kept = cache._counters
            assert kept._bytes == sum(len(k) + len(value) + 200 for k, (_, value) in kept.entries.items()) <= 3_000

    asyncio.run(run())


@pytest.mark.parametrize("value", [b"", b"\0" * 10, b"\xff"])
async def test_any_bytes_come_back_as_they_went(value: bytes) -> None:
    cache = MemoryCache()
    await cache.set("k", value, ttl_seconds=10)
    assert await cache.get("k") == value
