"""Claiming: as many as there are slots, fair between users, not while the machine says no, and never after drain (P16, P25, P26)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from tests.support.downloads import Gatekeeper
from tests.unit.worker.conftest import LEASE_SECONDS, Surroundings
from vasset.adapters.db.outbox import SqlOutbox
from vasset.adapters.queue.memory import MemoryQueue
from vasset.domain.download import TaskStatus
from vasset.domain.errors import DependencyDown
from vasset.worker.admission import Admission, AdmissionBounds
from vasset.worker.consumer import Consumer
from vasset.worker.pool import Pool
from vasset.worker.relay import Relay
from vasset.worker.slots import Slots
from vasset.worker.ticker import Ticker


def pool_of(
    around: Surroundings, slots: int, *, per_user: int = 50, per_site: int = 50, disk_alert_percent: float = 100.0
) -> Pool:
    admission = Admission(
        around.storage,
        around.clock,
        AdmissionBounds(disk_alert_percent, min_available_memory_mib=0, max_load_per_core=1e9),
    )
    return Pool(
        around.store,
        around.run,
        admission,
        worker="worker",
        slots=Slots(slots),
        lease_seconds=LEASE_SECONDS,
        tasks_per_user=per_user,
        tasks_per_site=per_site,
        poll_seconds=0.02,
    )


@asynccontextmanager
async def running(pool: Pool) -> AsyncIterator[None]:
    loop = asyncio.create_task(pool.run())
    try:
        yield
    finally:
        await pool.drain(5)
        await asyncio.wait_for(loop, 5)


async def eventually(fact: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not fact():
            await asyncio.sleep(0.005)


async def test_all_tasks_complete_with_fewer_slots_than_tasks(around: Surroundings) -> None:
    tasks = [await around.submit() for _ in range(12)]
    async with running(pool_of(around, 3)):
        for task in tasks:
            assert (await around.until(lambda row: row.status.is_terminal, task.id)).status is TaskStatus.COMPLETED


async def test_no_more_run_at_a_time_than_there_are_slots_and_growing_them_starts_more(around: Surroundings) -> None:
    gate = Gatekeeper()
    around.fetcher.on_result = gate
    for _ in range(5):
        await around.submit()
    pool = pool_of(around, 2)
    async with running(pool):
        await eventually(lambda: len(around.fetcher.transfers) == 2)
        assert pool.slots.in_use == 2
        pool.resize(4)
        await eventually(lambda: len(around.fetcher.transfers) == 4)
        pool.resize(1)
        gate.let_on.set()
        await eventually(lambda: len(around.fetcher.transfers) == 5)


async def test_a_user_with_many_tasks_does_not_delay_one_with_one(around: Surroundings) -> None:
    """P16: a thousand queued tasks of one user, and the next free slot goes to the other."""
    gate = Gatekeeper()
    around.fetcher.on_result = gate
    for _ in range(20):
        await around.submit(0)
    late = await around.submit(1)
    async with running(pool_of(around, 2)):
        await eventually(lambda: len(around.fetcher.transfers) == 2)
        assert (await around.task(late.id)).status is TaskStatus.RUNNING


async def test_one_user_never_takes_more_than_the_limit(around: Surroundings) -> None:
    gate = Gatekeeper()
    around.fetcher.on_result = gate
    for _ in range(5):
        await around.submit(0)
    pool = pool_of(around, 4, per_user=2)
    async with running(pool):
        await eventually(lambda: len(around.fetcher.transfers) == 2)
        other = await around.submit(1)
        await eventually(lambda: len(around.fetcher.transfers) == 3)
        assert (await around.task(other.id)).status is TaskStatus.RUNNING
        assert len(pool.runs()) == 3  # not the slots: a claim that finds nothing holds one for a moment


async def test_nothing_starts_while_the_disk_is_over_its_watermark(around: Surroundings) -> None:
    task = await around.submit()
    pool = pool_of(around, 2, disk_alert_percent=0.0)
    async with running(pool):
        assert not await pool.offer()
        assert (await around.task(task.id)).status is TaskStatus.QUEUED


async def test_draining_gives_every_lease_back_and_claims_no_more(around: Surroundings) -> None:
    gate = Gatekeeper()
    around.fetcher.on_result = gate
    tasks = [await around.submit() for _ in range(4)]
    pool = pool_of(around, 2)
    loop = asyncio.create_task(pool.run())
    await eventually(lambda: len(around.fetcher.transfers) == 2)
    await pool.drain(5)
    await asyncio.wait_for(loop, 5)
    rows = [await around.task(task.id) for task in tasks]
    assert [(row.status, row.attempt, row.lease_owner) for row in rows] == [(TaskStatus.QUEUED, 0, None)] * 4
    assert not await pool.offer()


async def test_a_full_site_leaves_the_slots_to_other_sites(around: Surroundings) -> None:
    """Tasks that may not run yet stay in the queue: no slot, no attempt and no time is theirs meanwhile."""
    gate = Gatekeeper()
    around.fetcher.on_result = gate
    busy = [await around.submit(url=f"http://busy.test/{number}") for number in range(6)]
    other = await around.submit(url="http://other.test/1")
    pool = pool_of(around, 4, per_site=2)
    async with running(pool):
        await eventually(lambda: len(around.fetcher.transfers) == 3)
        assert (await around.task(other.id)).status is TaskStatus.RUNNING
        await eventually(lambda: pool.slots.in_use == 3)  # a look at the queue holds one for a moment
        assert [(await around.task(task.id)).status for task in busy] == [TaskStatus.RUNNING] * 2 + [
            TaskStatus.QUEUED
        ] * 4
        gate.let_on.set()
        for task in busy:
            await around.until(lambda row: row.status is TaskStatus.COMPLETED, task.id)


async def test_an_unavailable_database_is_waited_for(around: Surroundings) -> None:
    claim_next = around.store.claim_next
    outages = [DependencyDown(), DependencyDown()]

    async def blink(**asked: Any) -> object:
        if outages:
            raise outages.pop()
        return await claim_next(**asked)

    around.store.claim_next = blink  # type: ignore[method-assign,assignment]
    task = await around.submit()
    async with running(pool_of(around, 1)):
        await around.until(lambda row: row.status is TaskStatus.COMPLETED, task.id)


async def test_wake_ups_lost_doubled_and_reordered_change_nothing(around: Surroundings) -> None:
    tasks = [await around.submit() for _ in range(6)]
    outbox, queue = SqlOutbox(around.store._database), MemoryQueue()
    messages = list(await outbox.take(limit=100))
    await queue.publish([*messages[3:], *messages[4:], *messages[:2]])
    pool = pool_of(around, 2)
    consumer = asyncio.create_task(Consumer(queue, pool).run())
    try:
        async with running(pool):
            for task in tasks:
                await around.until(lambda row: row.status is TaskStatus.COMPLETED, task.id)
        assert around.extractor.extractions == 6
    finally:
        consumer.cancel()
        await asyncio.gather(consumer, return_exceptions=True)


async def test_a_wake_up_for_a_task_that_a_hint_was_quicker_for_waits_for_no_slot(around: Surroundings) -> None:
    gate = Gatekeeper()
    around.fetcher.on_result = gate
    task = await around.submit()
    (message,) = await SqlOutbox(around.store._database).take(limit=10)
    queue = MemoryQueue()
    pool = pool_of(around, 1)
    consumer = asyncio.create_task(Consumer(queue, pool).run())
    try:
        async with running(pool):
            await eventually(lambda: len(around.fetcher.transfers) == 1)
            await queue.publish([message, message])  # at most one is out at a time, and the only slot is taken
            async with asyncio.timeout(10):
                while await queue.depth():
                    await asyncio.sleep(0.005)
            assert not pool.foresaw(task.id)  # the second message asks, as it might be about a later claim
            gate.let_on.set()
    finally:
        consumer.cancel()
        await asyncio.gather(consumer, return_exceptions=True)


async def test_the_relay_moves_every_outbox_row_once(around: Surroundings) -> None:
    for _ in range(3):
        await around.submit()
    outbox, queue = SqlOutbox(around.store._database), MemoryQueue()
    relay = Relay(outbox, queue)
    assert await relay.move_once() == 3
    assert await relay.move_once() == 0
    assert await outbox.backlog() == 0
    assert await queue.depth() == 3


async def test_what_the_queue_does_not_confirm_stays_in_the_outbox(around: Surroundings) -> None:
    for _ in range(3):
        await around.submit()
    outbox = SqlOutbox(around.store._database)
    assert await Relay(outbox, MemoryQueue(capacity=2)).move_once() == 2
    assert await outbox.backlog() == 1


async def test_the_ticker_reports_running_tasks_without_asking_sql(around: Surroundings) -> None:
    gate = Gatekeeper()
    around.fetcher.on_result = gate
    task = await around.submit()
    pool = pool_of(around, 1)
    ticker = asyncio.create_task(Ticker(pool, around.bus, hertz=100).run())
    try:
        async with running(pool), around.bus.subscribe([task.id]) as frames:
            async with asyncio.timeout(10):
                async for frame in frames:
                    if frame.downloaded_bytes:
                        break
            assert (frame.downloaded_bytes, frame.total_bytes, frame.percent) == (10, 20, 50.0)
    finally:
        ticker.cancel()
        await asyncio.gather(ticker, return_exceptions=True)
