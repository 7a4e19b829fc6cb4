"""A bound that holds under races, resizes and cancellations."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vasset.worker.slots import Slots


async def test_waiting_is_first_come_first_served() -> None:
    slots, order = Slots(1), list[int]()
    await slots.acquire()

    async def wait(number: int) -> None:
        async with slots.hold():
            order.append(number)

    waiting = [asyncio.create_task(wait(number)) for number in range(5)]
    await asyncio.sleep(0)
    slots.release()
    await asyncio.gather(*waiting)
    assert order == [0, 1, 2, 3, 4]
    assert slots.in_use == 0


async def test_a_cancelled_waiter_takes_no_slot_even_in_the_moment_it_is_given_one() -> None:
    slots = Slots(1)
    await slots.acquire()
    waiter = asyncio.create_task(slots.acquire())
    await asyncio.sleep(0)
    slots.release()
    waiter.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiter
    assert slots.free == 1


async def test_shrinking_waits_for_holders() -> None:
    slots = Slots(3)
    for _ in range(3):
        await slots.acquire()
    slots.resize(1)
    slots.release()
    assert (slots.free, slots.in_use) == (0, 2)
    waiter = asyncio.create_task(slots.acquire())
    await asyncio.sleep(0)
    slots.release()
    assert not waiter.done()
    slots.release()
    await asyncio.wait_for(waiter, 5)


def test_a_negative_size_is_refused() -> None:
    with pytest.raises(ValueError, match="smallest size is 0"):
        Slots(1).resize(-1)


@given(st.lists(st.tuples(st.sampled_from(["acquire", "release", "cancel", "resize"]), st.integers(0, 5)), max_size=60))
@settings(deadline=None, max_examples=60)
def test_never_more_holders_than_the_largest_size_since_they_came(steps: list[tuple[str, int]]) -> None:
    async def scenario() -> None:
        slots, holders = Slots(2), list[asyncio.Task[None]]()
        released = 0
        for step, number in steps:
            if step == "acquire":
                holders.append(asyncio.create_task(slots.acquire()))
            elif step == "release" and slots.in_use:
                slots.release()
                released += 1
            elif step == "cancel" and number < len(holders):
                holders[number].cancel()
            elif step == "resize":
                slots.resize(number)
            for _ in range(3):
                await asyncio.sleep(0)
            granted = sum(task.done() and not task.cancelled() for task in holders)
            assert slots.in_use == granted - released
            waiting = sum(not task.done() for task in holders)
            assert not (waiting and slots.free), "somebody waits beside a free slot"
        for task in holders:
            task.cancel()
        await asyncio.gather(*holders, return_exceptions=True)

    asyncio.run(scenario())
