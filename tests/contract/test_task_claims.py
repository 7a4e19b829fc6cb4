"""Which task a worker gets next: one of the user who has least, of a site that has room, and never the same one twice."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy import select

from tests.support.builders import add_user, submission
from tests.support.clock import FakeClock
from vasset.adapters.db.database import Database
from vasset.adapters.db.policy import TaskPolicy
from vasset.adapters.db.tables import tasks
from vasset.adapters.db.tasks import SqlTaskStore
from vasset.domain.download import Task, TaskStatus
from vasset.domain.quota import QuotaPolicy
from vasset.domain.user import Role


@pytest.fixture
def store(database: Database) -> SqlTaskStore:
    return SqlTaskStore(database, TaskPolicy(quota=QuotaPolicy({Role.FREE: 1_000})))


@pytest.fixture
async def user_id(database: Database) -> int:
    return await add_user(database)


async def queued(store: SqlTaskStore, user_id: int, **wishes: Any) -> Task:
    return (await store.submit(submission(user_id, **wishes), role=Role.FREE, idempotency_key=None)).task


async def test_of_many_claims_one_wins(store: SqlTaskStore, user_id: int) -> None:
    task = await queued(store, user_id)
    claims = (store.claim(task.id, worker=f"w{n}", lease_seconds=60) for n in range(20))
    leases = [lease for lease in await asyncio.gather(*claims) if lease is not None]
    assert len(leases) == 1
    assert leases[0].task.status is TaskStatus.RUNNING
    assert (leases[0].fence, leases[0].task.attempt) == (1, 1)


async def test_parallel_workers_share_the_queue_without_overlap(store: SqlTaskStore, user_id: int) -> None:
    ids = {(await queued(store, user_id)).id for _ in range(12)}

    async def work(worker: str) -> list[str]:
        taken = []
        while (lease := await store.claim_next(worker=worker, lease_seconds=60, per_user_limit=100)) is not None:
            taken.append(lease.task.id)
        return taken

    taken = [task_id for some in await asyncio.gather(*(work(f"w{n}") for n in range(4))) for task_id in some]
    assert sorted(taken) == sorted(ids)


async def test_the_user_with_the_fewest_running_tasks_is_next(
    store: SqlTaskStore, database: Database, user_id: int, clock: FakeClock
) -> None:
    greedy = [await queued(store, user_id) for _ in range(5)]
    clock.advance(60)
    modest = await queued(store, await add_user(database))
    order = []
    for _ in range(3):
        lease = await store.claim_next(worker="w", lease_seconds=600, per_user_limit=100)
        assert lease is not None
        order.append(lease.task.id)
    assert order == [greedy[0].id, modest.id, greedy[1].id]


async def test_one_user_fills_no_more_than_their_share_of_a_worker(store: SqlTaskStore, user_id: int) -> None:
    for _ in range(4):
        await queued(store, user_id)
    for _ in range(2):
        assert await store.claim_next(worker="w1", lease_seconds=60, per_user_limit=2) is not None
    assert await store.claim_next(worker="w1", lease_seconds=60, per_user_limit=2) is None
    assert await store.claim_next(worker="w2", lease_seconds=60, per_user_limit=2) is not None


async def test_a_full_site_is_passed_over_and_the_others_are_not(store: SqlTaskStore, user_id: int) -> None:
    waiting = [
        await queued(store, user_id, url=f"https://{site}/1") for site in ("a.example", "A.example:8443", "b.example")
    ]

    async def claimed(*full: str) -> str | None:
        lease = await store.claim_next(worker="w", lease_seconds=60, per_user_limit=100, full_sites=full)
        return None if lease is None else lease.task.id

    assert await claimed("a.example", "b.example", "never-seen.example") is None
    assert await claimed("a.example") == waiting[2].id
    assert await claimed("a.example") is None
    assert [await claimed("b.example"), await claimed()] == [waiting[0].id, waiting[1].id]


async def test_a_forged_or_foreign_wake_up_claims_nothing(store: SqlTaskStore) -> None:
    for task_id in ("", "x" * 5_000, "' OR 1=1 --", "\ud800", "00000000-0000-0000-0000-000000000000"):
        assert await store.claim(task_id, worker="w", lease_seconds=60) is None


async def test_what_another_worker_is_claiming_is_passed_over(
    store: SqlTaskStore, database: Database, user_id: int, clock: FakeClock
) -> None:
    """Nobody waits for a claim that is being written: the user's next task is as good, then another user's."""
    if database.is_sqlite:
        pytest.skip("one writer at a time: there is no claim beside a claim")
    first, second = await queued(store, user_id), await queued(store, user_id)
    clock.advance(1)
    other = await queued(store, await add_user(database))

    async def claimed() -> str | None:
        lease = await store.claim_next(worker="w", lease_seconds=60, per_user_limit=100)
        return None if lease is None else lease.task.id

    async with database.write() as transaction:
        await transaction.execute(select(tasks.c.id).where(tasks.c.id == first.id).with_for_update())
        async with asyncio.timeout(3):
            assert [await claimed() for _ in range(3)] == [second.id, other.id, None]
    assert await claimed() == first.id
