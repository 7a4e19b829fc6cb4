"""Transactions of both databases keep what they promise, and failures have our names."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path

import pytest
from sqlalchemy import func, select, text, update
from sqlalchemy.exc import DBAPIError

from tests.support.builders import add_user
from vasset.adapters.db.database import Database, open_database
from vasset.adapters.db.tables import users
from vasset.bootstrap.local_servers import free_port
from vasset.domain.errors import DependencyDown, DiskFull, NotFound, Unavailable


async def test_read_then_write_loses_no_update(database: Database) -> None:
    """With the driver's own deferred transactions 24 of 300 survived on SQLite; ``BEGIN IMMEDIATE`` keeps all."""
    user_id = await add_user(database)

    async def increment() -> None:
        async with database.write() as transaction:
            mine = users.c.id == user_id
            role = (await transaction.execute(select(users.c.role).where(mine).with_for_update())).scalar_one()
            await transaction.execute(update(users).where(mine).values(role=role + 1))

    await asyncio.gather(*(increment() for _ in range(200)))
    async with database.read() as transaction:
        assert (await transaction.execute(select(users.c.role))).scalar_one() == 200


async def test_two_processes_lose_no_update_either(tmp_path: Path) -> None:
    """Two engines on one file have no common lock but SQLite's own."""
    url = f"sqlite+aiosqlite:///{tmp_path / 'two.db'}"
    first, second = open_database(url), open_database(url)
    async with first.write() as transaction:
        await transaction.execute(text("CREATE TABLE counter (n INTEGER)"))
        await transaction.execute(text("INSERT INTO counter VALUES (0)"))

    async def increment(database: Database) -> None:
        async with database.write() as transaction:
            n = (await transaction.execute(text("SELECT n FROM counter"))).scalar_one()
            await transaction.execute(text(f"UPDATE counter SET n = {n + 1}"))

    await asyncio.gather(*(increment(database) for _ in range(20) for database in (first, second)))
    async with first.read() as transaction:
        assert (await transaction.execute(text("SELECT n FROM counter"))).scalar_one() == 40
    await first.close()
    await second.close()


async def test_an_exception_rolls_everything_back(database: Database) -> None:
    user_id = await add_user(database)

    async def write_and_fail() -> None:
        async with database.write() as transaction:
            await transaction.execute(update(users).where(users.c.id == user_id).values(role=100))
            raise NotFound()

    with pytest.raises(NotFound):
        await write_and_fail()
    async with database.read() as transaction:
        assert (await transaction.execute(select(users.c.role))).scalar_one() == 0


async def test_a_cancelled_writer_leaves_neither_rows_nor_locks(database: Database) -> None:
    user_id = await add_user(database)
    inside = asyncio.Event()

    async def write_and_wait() -> None:
        async with database.write() as transaction:
            await transaction.execute(update(users).where(users.c.id == user_id).values(role=100))
            inside.set()
            await asyncio.Event().wait()

    writer = asyncio.create_task(write_and_wait())
    await asyncio.wait_for(inside.wait(), 10)
    writer.cancel()
    await asyncio.gather(writer, return_exceptions=True)
    async with asyncio.timeout(10), database.write() as transaction:
        role = await transaction.execute(
            update(users).where(users.c.id == user_id).values(role=users.c.role + 10).returning(users.c.role)
        )
        assert role.scalar_one() == 10


async def test_times_come_back_aware_and_naive_ones_are_refused(database: Database) -> None:
    user_id = await add_user(database)
    async with database.read() as transaction:
        created_at = (await transaction.execute(select(users.c.created_at))).scalar_one()
        assert created_at == transaction.now
        assert created_at.utcoffset().total_seconds() == 0
    with pytest.raises(Exception, match="has no time zone"):
        async with database.write() as transaction:
            await transaction.execute(
                update(users).where(users.c.id == user_id).values(created_at=datetime(2026, 1, 1))
            )


async def test_a_glance_waits_for_no_transaction_of_its_own_and_knows_the_databases_time(database_url: str) -> None:
    database = open_database(database_url)
    try:
        async with database.read() as transaction:
            asked = transaction.now
        async with database.glance() as transaction:
            assert 0 <= (transaction.now - asked).total_seconds() < 5
            if not database.is_sqlite:  # now() is when the transaction began: here each statement is one
                moments = [(await transaction.execute(select(func.now()))).scalar_one() for _ in range(2)]
                assert moments[0] < moments[1]
        async with database.write() as transaction:
            if not database.is_sqlite:  # what a glance borrowed came back as it was
                moments = [(await transaction.execute(select(func.now()))).scalar_one() for _ in range(2)]
                assert moments[0] == moments[1]
    finally:
        await database.close()


async def test_this_process_may_have_a_wrong_clock(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On PostgreSQL the server's counts, asked for once a minute. (SQLite runs in this process: there is no other clock.)"""
    database = open_database(database_url)
    try:
        truth = datetime.now(UTC)
        with monkeypatch.context() as patched:
            patched.setattr("vasset.adapters.db.database.datetime", WrongClock)
            for _ in range(2):
                async with database.write() as transaction:
                    off = abs((transaction.now - truth).total_seconds())
                    assert off > 3000 if database.is_sqlite else off < 5
    finally:
        await database.close()


class WrongClock(datetime):
    @classmethod
    def now(cls, tz: tzinfo | None = None) -> WrongClock:
        return super().now(tz) - timedelta(hours=1)


async def test_a_database_that_is_not_there_is_a_dependency_that_is_down() -> None:
    database = open_database(f"postgresql+asyncpg://u@127.0.0.1:{free_port()}/x")
    with pytest.raises(DependencyDown):
        await database.ping()
    await database.close()


async def test_a_mistake_of_ours_is_not_called_an_outage(database: Database) -> None:
    """A retry would hide it for ever."""
    with pytest.raises(DBAPIError, match="no_such_table"):
        async with database.read() as transaction:
            await transaction.execute(text("SELECT 1 FROM no_such_table"))


async def test_a_full_disk_under_the_database_is_called_so(tmp_path: Path) -> None:
    database = open_database(f"sqlite+aiosqlite:///{tmp_path / 'small.db'}", pool_size=1)
    async with database.write() as transaction:
        await transaction.execute(text("CREATE TABLE heap (x BLOB)"))
    async with database.write() as transaction:
        pages = (await transaction.execute(text("PRAGMA page_count"))).scalar_one()
        await transaction.execute(text(f"PRAGMA max_page_count={pages + 2}"))
    with pytest.raises(DiskFull):
        async with database.write() as transaction:
            await transaction.execute(text("INSERT INTO heap VALUES (zeroblob(1000000))"))
    await database.close()


async def test_the_pool_is_bounded_and_tells_its_use(database: Database) -> None:
    async with database.read(), database.read():
        usage = database.pool_usage()
        assert usage["in_use"] == 2
        assert usage["limit"] <= 100
    assert database.pool_usage()["in_use"] == 0


@pytest.mark.parametrize("mode", ["banana", "verify-none"])
def test_an_unknown_tls_mode_is_refused(mode: str) -> None:
    with pytest.raises(Unavailable, match="sslmode"):
        open_database(f"postgresql+asyncpg://u@127.0.0.1/x?sslmode={mode}")


async def test_a_reader_cancelled_in_its_statement_gives_its_connection_back(database: Database) -> None:
    forever = text(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300000) SELECT count(*) FROM n"
    )

    async def read() -> None:
        async with database.read() as transaction:
            await transaction.execute(forever)

    for _ in range(database.pool_usage()["limit"] + 1):
        reader = asyncio.create_task(read())
        while not database.pool_usage()["in_use"]:
            await asyncio.sleep(0)
        reader.cancel()
        await asyncio.gather(reader, return_exceptions=True)
    async with asyncio.timeout(10):
        await database.ping()
    assert database.pool_usage()["in_use"] == 0
