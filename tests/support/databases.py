"""A fresh, migrated database for every test: SQLite in a file, PostgreSQL in a server of the suite's own."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from sqlalchemy import text

from vasset.adapters.db.database import Database, open_database
from vasset.adapters.db.migrate import migrate
from vasset.adapters.db.tables import metadata
from vasset.bootstrap.local_servers import PostgresServer
from vasset.domain.ports import Clock


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """A server without durability, in a folder its own user can reach (pytest's are closed to other users)."""
    folder = Path(tempfile.mkdtemp(prefix="vasset-postgres-"))
    server = PostgresServer(folder, fsync=False)
    try:
        with server:
            yield server
    finally:
        shutil.rmtree(folder, ignore_errors=True)


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
