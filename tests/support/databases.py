"""A fresh, migrated database for every test: SQLite in a file, PostgreSQL in a server of the suite's own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from sqlalchemy import text

from tests.support.server_folder import server_folder
from vasset.adapters.db.database import Database, open_database
from vasset.adapters.db.migrate import migrate
from vasset.adapters.db.tables import metadata
from vasset.bootstrap.local_servers import PostgresServer
from vasset.domain.ports import Clock


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """A server without durability."""
    with server_folder("postgres") as folder, PostgresServer(folder, fsync=False) as server:
        yield server


def migrated_sqlite(folder: Path) -> Path:
    """An empty database file at the newest schema, to be copied: faster than migrating for every test."""
    path = folder / "template.db"

    async def make() -> None:
        database = open_database(sqlite_url(path))
        await migrate(database)
        await database.close()

    asyncio.run(make())
    return path


def migrate_now(url: str) -> None:
    async def make() -> None:
        database = open_database(url)
        await migrate(database)
        await database.close()

    asyncio.run(make())


def sqlite_url(path: Path) -> str:
    return f"sqlite+aiosqlite:///{path}"


@asynccontextmanager
async def opened(url: str, clock: Clock | None) -> AsyncIterator[Database]:
    database = open_database(url, pool_size=16, clock=clock)
    try:
        yield database
    finally:
        await database.close()


async def empty(database: Database) -> None:
    """Every table of a PostgreSQL database back to its first row."""
    names = ", ".join(f'"{table.name}"' for table in metadata.sorted_tables)
    async with database.write() as transaction:
        await transaction.execute(text(f"TRUNCATE {names} RESTART IDENTITY CASCADE"))
