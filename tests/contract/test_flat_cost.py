"""What a user asks costs the same however much everybody has downloaded: rows that are neither answered nor changed are not read.

The measure is the database's own: SQLite's virtual machine counts its instructions, PostgreSQL the rows that it fetched.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import event, text
from sqlalchemy.engine import Engine

from tests.support.builders import published, submission
from tests.support.databases import empty
from tests.support.many_rows import HEAVY_USER, fill
from vasset.adapters.db.accounts import SqlAccounts
from vasset.adapters.db.database import Database, open_database
from vasset.adapters.db.dead_letters import SqlDeadLetters
from vasset.adapters.db.files import SqlFileStore
from vasset.adapters.db.library import SqlLibrary
from vasset.adapters.db.outbox import SqlOutbox
from vasset.adapters.db.policy import KeepTimes, TaskPolicy
from vasset.adapters.db.retention import SqlRetention
from vasset.adapters.db.tasks import SqlTaskStore
from vasset.domain.download import TaskFailure, TaskStatus
from vasset.domain.quota import QuotaPolicy
from vasset.domain.user import Role

FEW, MANY, USERS = 2_000, 20_000, 40
QUOTA = QuotaPolicy({Role.FREE: 100_000})
POLICY = TaskPolicy(quota=QUOTA, max_unfinished_tasks=100_000)
UNFINISHED = (TaskStatus.QUEUED, TaskStatus.RUNNING)

Operation = Callable[[Database], Awaitable[object]]


async def _ended(database: Database, *, well: bool) -> None:
    store = SqlTaskStore(database, POLICY)
    lease = await store.claim_next(worker="w", lease_seconds=60, per_user_limit=1_000)
    assert lease is not None
    await store.heartbeat(lease, lease_seconds=60)
    if well:
        await store.complete(lease, published(lease.task.id), duration_seconds=1.0)
    else:
        await store.fail(lease, TaskFailure("other", "It failed.", False), retry_in_seconds=None)


def _submit(database: Database) -> Awaitable[object]:
    store = SqlTaskStore(database, POLICY)
    return store.submit(submission(HEAVY_USER), role=Role.FREE, idempotency_key=None)


def _page(*statuses: TaskStatus) -> Operation:
    return lambda database: SqlTaskStore(database, POLICY).page(HEAVY_USER, statuses=statuses, per_page=20)


OPERATIONS: dict[str, Operation] = {
    "submit": _submit,
    "the list of downloads": _page(),
    "what is unfinished": _page(*UNFINISHED),
    "what failed": _page(TaskStatus.FAILED),
    "what ended": _page(TaskStatus.FAILED, TaskStatus.COMPLETED),
    "history": lambda database: SqlLibrary(database, QUOTA).history(HEAVY_USER, page=1, per_page=20, query=None),
    "a user's statistics": lambda database: SqlLibrary(database, QUOTA).statistics(HEAVY_USER),
    "everybody's statistics": lambda database: SqlLibrary(database, QUOTA).statistics(None),
    "quota": lambda database: SqlLibrary(database, QUOTA).quota(HEAVY_USER, Role.FREE),
    "quota usage": lambda database: SqlLibrary(database, QUOTA).quota_usage(),
    "how much is under way": lambda database: SqlTaskStore(database, POLICY).active_count(),
    "claim and complete": lambda database: _ended(database, well=True),
    "claim and fail": lambda database: _ended(database, well=False),
    "what waits": lambda database: SqlTaskStore(database, POLICY).due(limit=5),
    "reap": lambda database: SqlTaskStore(database, POLICY).reap(limit=5),
    "expired files": lambda database: SqlFileStore(database).expired(limit=5),
    "misplaced files": lambda database: SqlFileStore(database).misplaced(limit=5),
    "forget": lambda database: SqlRetention(database, KeepTimes()).forget(limit=5),
    "dead letters": lambda database: SqlDeadLetters(database, POLICY).list(limit=5),
    "outbox": lambda database: SqlOutbox(database).take(limit=5),
    "an account": lambda database: SqlAccounts(database).find("filled7@example.org"),
}


class Instructions:
    """SQLite's: every connection of the product counts into one place."""

    EVERY = 10

    def __init__(self) -> None:
        self.done = 0

    def watch(self, connection: Any, _entry: object) -> None:
        if isinstance(connection, sqlite3.Connection):
            connection.set_progress_handler(self._count, self.EVERY)

    def _count(self) -> int:
        self.done += self.EVERY
        return 0

    async def of(self, database: Database, operation: Operation) -> int:
        before = self.done
        await operation(database)
        return self.done - before


class FetchedRows:
    """PostgreSQL's: what its tables were read for."""

    COUNTED = text("SELECT coalesce(sum(seq_tup_read + coalesce(idx_tup_fetch, 0)), 0) FROM pg_stat_user_tables")

    async def of(self, database: Database, operation: Operation) -> int:
        before = await self._read(database)
        await operation(database)
        return await self._read(database) - before

    async def _read(self, database: Database) -> int:
        async with database.read() as transaction:
            await transaction.execute(text("SELECT pg_stat_force_next_flush()"))
        async with database.read() as transaction:
            return int((await transaction.execute(self.COUNTED)).scalar_one())


@pytest.fixture
def instructions() -> Iterator[Instructions]:
    counting = Instructions()
    event.listen(Engine, "connect", counting.watch)
    yield counting
    event.remove(Engine, "connect", counting.watch)


@pytest.fixture
async def measured(database_url: str, instructions: Instructions) -> AsyncIterator[tuple[Database, Any]]:
    database = open_database(database_url, pool_size=1)  # PostgreSQL counts by session
    yield database, instructions if database.is_sqlite else FetchedRows()
    await database.close()


@pytest.mark.timeout(300)
async def test_no_operation_reads_more_because_there_is_more(
    measured: tuple[Database, Any],
) -> None:
    database, work = measured
    costs: dict[str, list[int]] = {}
    for downloads in (FEW, MANY):
        await _fill_again(database, downloads)
        for name, operation in OPERATIONS.items():
            await operation(database)  # what is only made once (connections, prepared statements) is not counted
            costs.setdefault(name, []).append(await work.of(database, operation))
    grown = {name: (few, many) for name, (few, many) in costs.items() if many > 2 * few + 100 * Instructions.EVERY}
    assert grown == {}, costs


async def _fill_again(database: Database, downloads: int) -> None:
    if database.is_sqlite:
        async with database.write() as transaction:
            for table in ("outbox", "quota_ledger", "users"):
                await transaction.execute(text(f"DELETE FROM {table}"))
    else:
        await empty(database)
    await fill(database, downloads=downloads, users=USERS, queued=downloads // 2)
