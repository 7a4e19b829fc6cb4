"""The schema goes up and down on both databases, is what the code believes, and refuses versions it does not know."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text
from sqlalchemy.engine import Connection

from tests.support.builders import add_user, submission
from tests.support.databases import opened
from tests.support.many_rows import fill
from vasset.adapters.db.audit import SqlAudit
from vasset.adapters.db.database import Database, open_database
from vasset.adapters.db.library import SqlLibrary
from vasset.adapters.db.migrate import HEAD, SchemaMismatch, alembic_config, migrate, revision_of
from vasset.adapters.db.policy import TaskPolicy
from vasset.adapters.db.tables import metadata
from vasset.adapters.db.tasks import SqlTaskStore
from vasset.domain.quota import QuotaPolicy
from vasset.domain.user import Role

REVISIONS = [script.revision for script in ScriptDirectory.from_config(alembic_config()).walk_revisions()][::-1]


@pytest.fixture
async def emptied(database_url: str) -> AsyncIterator[Database]:
    """A database without any table of ours; PostgreSQL's gets its schema back for the tests after this one."""
    async with opened(database_url, None) as database:
        await migrate(database, "base")
        yield database
        async with database.write() as transaction:
            await transaction.execute(text("DROP TABLE IF EXISTS alembic_version"))
            if not database.is_sqlite:
                for function in ("submit_quickly", "submit_v2", "count_task_v1", "count_file_v1"):
                    await transaction.execute(text(f"DROP FUNCTION IF EXISTS {function} CASCADE"))
        await database.overhaul(metadata.drop_all)
        await migrate(database)


async def tables(database: Database) -> set[str]:
    def names(connection: Connection) -> set[str]:
        return set(inspect(connection).get_table_names()) - {"alembic_version"}

    return await database.inspect(names)


async def drift(database: Database) -> list[Any]:
    def compare(connection: Connection) -> list[Any]:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        return list(compare_metadata(context, metadata))

    return await database.inspect(compare)


async def test_from_empty_up_the_schema_is_what_the_code_believes(emptied: Database) -> None:
    assert await tables(emptied) == set()
    await migrate(emptied)
    assert await revision_of(emptied) == HEAD == REVISIONS[-1]
    assert await drift(emptied) == []
    await migrate(emptied)  # again: nothing to do
    await add_user(emptied)


async def test_every_step_goes_down_and_up_again(emptied: Database) -> None:
    await migrate(emptied)
    for revision in [*reversed(REVISIONS[:-1]), "base"]:
        await migrate(emptied, revision)
    assert await tables(emptied) == set()
    for revision in REVISIONS:
        await migrate(emptied, revision)
        assert await revision_of(emptied) == revision
    assert await drift(emptied) == []


async def test_rows_survive_the_previous_version_and_back(emptied: Database) -> None:
    await migrate(emptied)
    user_id = await add_user(emptied)
    await migrate(emptied, REVISIONS[-2])
    await migrate(emptied)
    async with emptied.read() as transaction:
        assert (await transaction.execute(text("SELECT id FROM users"))).scalar_one() == user_id


async def test_tasks_that_wait_during_the_upgrade_belong_to_their_site(emptied: Database) -> None:
    await migrate(emptied)
    user_id = await add_user(emptied)
    store = SqlTaskStore(emptied, TaskPolicy())
    asked = submission(user_id, url="https://Videos.Example:8443/watch?v=1")
    task = (await store.submit(asked, role=Role.FREE, idempotency_key=None)).task
    await migrate(emptied, "0004")
    await migrate(emptied)
    assert await store.claim_next(worker="w", lease_seconds=60, per_user_limit=1, full_sites=["videos.example"]) is None
    lease = await store.claim_next(worker="w", lease_seconds=60, per_user_limit=1, full_sites=["other.example"])
    assert lease is not None
    assert lease.task.id == task.id


async def test_what_was_there_before_is_counted(emptied: Database) -> None:
    await migrate(emptied, "0005")
    await fill(emptied, downloads=300, users=7, queued=30, counted=False)
    await migrate(emptied)
    kept_wrongly = [finding for finding in await SqlAudit(emptied).findings() if finding.check == "totals"]
    assert kept_wrongly == []
    statistics = await SqlLibrary(emptied, QuotaPolicy({})).statistics(None)
    assert sum(statistics.tasks_by_status.values()) == 330


async def test_many_processes_may_start_at_once(emptied: Database, database_url: str) -> None:
    databases = [open_database(database_url, pool_size=1) for _ in range(4)]
    await asyncio.gather(*(migrate(database) for database in databases))
    for database in databases:
        await database.close()
    assert await revision_of(emptied) == HEAD


async def test_a_newer_schema_is_refused_in_words(emptied: Database) -> None:
    await migrate(emptied)
    async with emptied.write() as transaction:
        await transaction.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(SchemaMismatch, match="9999"):
        await migrate(emptied)


async def test_a_failing_step_changes_nothing(emptied: Database) -> None:
    """Half a schema would be worse than an old one."""
    async with emptied.write() as transaction:
        await transaction.execute(text("CREATE TABLE tasks (x INTEGER)"))
    with pytest.raises(Exception, match="tasks"):
        await migrate(emptied)
    assert await tables(emptied) == {"tasks"}
    assert await revision_of(emptied) is None
