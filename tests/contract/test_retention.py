"""Rows go when nobody needs them any more, and not before."""

from __future__ import annotations

import pytest
from sqlalchemy import func, select

from tests.support.builders import add_user, count, published, submission
from tests.support.clock import FakeClock
from vasset.adapters.db.accounts import SqlAccounts
from vasset.adapters.db.audit import SqlAudit
from vasset.adapters.db.database import Database
from vasset.adapters.db.files import SqlFileStore
from vasset.adapters.db.library import SqlLibrary
from vasset.adapters.db.policy import KeepTimes, TaskPolicy
from vasset.adapters.db.retention import SqlRetention
from vasset.adapters.db.tables import (
    download_history,
    idempotency_keys,
    quota_ledger,
    spent_tokens,
    tasks,
    user_sessions,
)
from vasset.adapters.db.tasks import SqlTaskStore
from vasset.domain.user import Role

DAY = 86_400.0
KEEP = KeepTimes()


@pytest.fixture
def store(database: Database) -> SqlTaskStore:
    return SqlTaskStore(database, TaskPolicy())


@pytest.fixture
def retention(database: Database) -> SqlRetention:
    return SqlRetention(database, KEEP)


@pytest.fixture
async def user_id(database: Database) -> int:
    return await add_user(database)


async def completed(store: SqlTaskStore, user_id: int, key: str | None = None) -> int:
    task = (await store.submit(submission(user_id), role=Role.FREE, idempotency_key=key)).task
    lease = await store.claim_next(worker="w", lease_seconds=60, per_user_limit=9)
    assert lease is not None
    await store.complete(lease, published(task.id), duration_seconds=1.0)
    return task.history_id


async def test_what_its_user_deleted_goes_with_its_task_once_its_file_is_gone(
    retention: SqlRetention, store: SqlTaskStore, database: Database, user_id: int, clock: FakeClock
) -> None:
    deleted, kept = await completed(store, user_id), await completed(store, user_id)
    await SqlLibrary(database, TaskPolicy().quota).delete(user_id, deleted)
    clock.advance(KEEP.deleted_seconds + DAY)
    await retention.forget(limit=10)
    assert await count(database, download_history) == 2  # the file is there yet
    await SqlFileStore(database).forget_file(deleted, reason="deleted")
    await retention.forget(limit=10)
    async with database.read() as transaction:
        assert (await transaction.execute(select(download_history.c.id))).scalars().all() == [kept]
        assert (await transaction.execute(select(tasks.c.history_id))).scalars().all() == [kept]
    assert {finding.check for finding in await SqlAudit(database).findings()} <= {"outbox"}  # no relay runs here


async def test_what_was_deleted_a_moment_ago_stays(
    retention: SqlRetention, store: SqlTaskStore, database: Database, user_id: int
) -> None:
    deleted = await completed(store, user_id)
    await SqlLibrary(database, TaskPolicy().quota).delete(user_id, deleted)
    await SqlFileStore(database).forget_file(deleted, reason="deleted")
    await retention.forget(limit=10)
    assert await count(database, download_history) == 1


async def test_a_key_lives_for_a_day(
    retention: SqlRetention, store: SqlTaskStore, database: Database, user_id: int, clock: FakeClock
) -> None:
    await completed(store, user_id, "once")
    clock.advance(DAY - 60)
    await retention.forget(limit=10)
    assert await count(database, idempotency_keys) == 1
    clock.advance(120)
    await retention.forget(limit=10)
    assert await count(database, idempotency_keys) == 0


async def test_the_doctor_does_not_miss_settled_days_of_the_ledger(
    retention: SqlRetention, store: SqlTaskStore, database: Database, user_id: int, clock: FakeClock
) -> None:
    await completed(store, user_id)
    clock.advance(KEEP.ledger_seconds + 2 * DAY)
    idle = await add_user(database)
    await completed(store, idle)
    assert await retention.forget(limit=10) >= 1
    async with database.read() as transaction:
        assert (await transaction.execute(select(func.count()).select_from(quota_ledger))).scalar_one() == 1
    assert await SqlAudit(database).findings() == []


async def test_ended_sessions_and_spent_tokens_go_and_a_living_session_stays(
    retention: SqlRetention, database: Database, user_id: int, clock: FakeClock
) -> None:
    accounts = SqlAccounts(database)
    long_life = int(400 * DAY)
    ended = await accounts.open_session(user_id, b"a" * 32, ttl_seconds=long_life, user_agent=None)
    await accounts.open_session(user_id, b"b" * 32, ttl_seconds=long_life, user_agent=None)
    await accounts.rotate(b"b" * 32, child_hash=b"c" * 32, nonce=b"n" * 32, ttl_seconds=long_life, grace_seconds=0)
    await accounts.end_session(user_id, ended)
    clock.advance(KEEP.ended_sessions_seconds + DAY)
    await retention.forget(limit=10)
    assert await count(database, user_sessions) == 1
    assert await count(database, spent_tokens) == 0


async def test_a_round_removes_no_more_than_it_was_told(
    retention: SqlRetention, store: SqlTaskStore, database: Database, user_id: int, clock: FakeClock
) -> None:
    for number in range(5):
        await completed(store, user_id, f"key {number}")
    clock.advance(2 * DAY)
    assert await retention.forget(limit=2) == 2
    assert await count(database, idempotency_keys) == 3
