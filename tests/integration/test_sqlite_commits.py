"""Writers on SQLite share commits, and nothing else."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import text

from vasset.adapters.db.database import Database, open_database
from vasset.domain.errors import DependencyDown, NotFound


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "commits.db"


@pytest.fixture
async def database(path: Path) -> AsyncIterator[Database]:
    database = open_database(f"sqlite+aiosqlite:///{path}")
    async with database.write() as transaction:
        await transaction.execute(text("CREATE TABLE parent (id INTEGER PRIMARY KEY)"))
        await transaction.execute(
            text(
                "CREATE TABLE child (id INTEGER PRIMARY KEY, parent INTEGER REFERENCES parent DEFERRABLE INITIALLY DEFERRED)"
            )
        )
    yield database
    await database.close()


async def insert(database: Database, number: int) -> None:
    async with database.write() as transaction:
        await transaction.execute(text("INSERT INTO parent VALUES (:id)"), {"id": number})


async def numbers(database: Database) -> list[int]:
    async with database.read() as transaction:
        return list((await transaction.execute(text("SELECT id FROM parent ORDER BY id"))).scalars())


def frames(path: Path) -> int:
    """Commits in the write-ahead log: frames whose header names the size of the database after them."""
    log = path.with_name(path.name + "-wal").read_bytes()
    page = int.from_bytes(log[8:12], "big")
    return sum(
        1 for at in range(32, len(log), page + 24) if log[at + 8 : at + 16] == log[16:24] and any(log[at + 4 : at + 8])
    )


async def test_those_who_write_at_once_share_a_commit(database: Database, path: Path) -> None:
    before = frames(path)
    await asyncio.gather(*(insert(database, number) for number in range(50)))
    assert await numbers(database) == list(range(50))
    assert frames(path) - before <= 3


async def test_nobody_is_told_done_before_the_log_holds_it(database: Database, path: Path) -> None:
    for number in range(5):
        before = frames(path)
        await insert(database, number)
        assert frames(path) == before + 1


async def test_a_refused_writer_takes_nobody_with_it(database: Database) -> None:
    async def refused() -> None:
        async with database.write() as transaction:
            await transaction.execute(text("INSERT INTO parent VALUES (100)"))
            raise NotFound()

    outcomes = await asyncio.gather(
        insert(database, 1), refused(), insert(database, 2), refused(), return_exceptions=True
    )
    assert [type(outcome) for outcome in outcomes] == [type(None), NotFound, type(None), NotFound]
    assert await numbers(database) == [1, 2]


async def test_a_commit_that_fails_is_told_to_everybody_in_it(database: Database) -> None:
    async def orphan() -> None:
        async with database.write() as transaction:
            await transaction.execute(text("INSERT INTO child VALUES (1, 999)"))

    outcomes = await asyncio.gather(insert(database, 1), orphan(), insert(database, 2), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [sqlite3.IntegrityError] * 3
    assert await numbers(database) == []
    await insert(database, 3)
    assert await numbers(database) == [3]


async def test_a_refusal_is_not_told_before_what_it_rests_on_is_on_the_disk(database: Database) -> None:
    """It looked at rows of a writer whose commit then failed: neither of them happened."""

    async def orphan() -> None:
        async with database.write() as transaction:
            await transaction.execute(text("INSERT INTO child VALUES (1, 999)"))

    async def refused_because_of_it() -> None:
        async with database.write() as transaction:
            if (await transaction.execute(text("SELECT count(*) FROM child"))).scalar_one():
                raise NotFound()

    outcomes = await asyncio.gather(orphan(), refused_because_of_it(), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [sqlite3.IntegrityError] * 2


async def test_a_writer_cancelled_while_it_waits_leaves_the_others_alone(database: Database) -> None:
    inside, leave = asyncio.Event(), asyncio.Event()

    async def slow() -> None:
        async with database.write() as transaction:
            inside.set()
            await leave.wait()
            await transaction.execute(text("INSERT INTO parent VALUES (1)"))

    first = asyncio.create_task(slow())
    await inside.wait()
    waiting = [asyncio.create_task(insert(database, number)) for number in (2, 3, 4)]
    await asyncio.sleep(0)
    waiting[1].cancel()
    leave.set()
    await asyncio.gather(first, *waiting, return_exceptions=True)
    assert await numbers(database) == [1, 2, 4]


async def test_a_lock_held_by_another_process_does_not_stop_the_event_loop(database: Database, path: Path) -> None:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    writing = asyncio.create_task(insert(database, 1))
    for _ in range(200):
        await asyncio.sleep(0)
    assert not writing.done()
    other.execute("ROLLBACK")
    await asyncio.wait_for(writing, 10)
    other.close()
    assert await numbers(database) == [1]


async def test_a_lock_that_is_never_released_is_a_database_that_does_not_answer(
    database: Database, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vasset.adapters.db.sqlite_writer.LOCK_TIMEOUT_SECONDS", 0.05)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(DependencyDown):
        await insert(database, 1)
    other.close()
    await insert(database, 2)
    assert await numbers(database) == [2]


async def test_closing_commits_what_is_under_way_and_refuses_what_comes_later(path: Path) -> None:
    database = open_database(f"sqlite+aiosqlite:///{path}")
    async with database.write() as transaction:
        await transaction.execute(text("CREATE TABLE parent (id INTEGER PRIMARY KEY)"))
    writing = asyncio.create_task(insert(database, 1))
    await asyncio.sleep(0)
    await database.close()
    await writing
    with pytest.raises(DependencyDown):
        await insert(database, 2)
    reopened = open_database(f"sqlite+aiosqlite:///{path}")
    assert await numbers(reopened) == [1]
    await reopened.close()
