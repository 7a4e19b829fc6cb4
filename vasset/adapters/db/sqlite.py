"""SQLite behind ``Database``: one writer, a glance on the event loop, and reading connections on threads of their own.

SQLAlchemy's asyncio layer is not used here: over aiosqlite a statement takes nine hops between threads, and importing it costs 7 MiB and
60 ms at every start because it brings the whole ORM.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from sqlalchemy import create_engine, event, exc
from sqlalchemy.engine import URL, Connection, Engine
from sqlalchemy.pool import ConnectionPoolEntry, QueuePool

from vasset.adapters.db.dialect import folded
from vasset.adapters.db.sqlite_writer import SqliteWriter
from vasset.adapters.db.statements import STATEMENT_TIMEOUT_SECONDS, Inline, Statements

LOCK_TIMEOUT_SECONDS = 5
MAX_CONNECTIONS = 8
PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=FULL",  # an acknowledged task survives power loss, not only kill -9
    "foreign_keys=ON",
    "temp_store=MEMORY",
)
Result = TypeVar("Result")


class SqliteBackend:
    is_sqlite = True

    def __init__(self, url: URL, *, pool_size: int) -> None:
        url = url.set(drivername="sqlite+pysqlite")
        size = min(pool_size, MAX_CONNECTIONS)
        self._writer = SqliteWriter(url, PRAGMAS)
        self._glancing = _glancing_engine(url)
        self._glance: Connection | None = None
        self._engine = _reading_engine(url, size)
        self._threads = ThreadPoolExecutor(size, "sqlite-read")
        self._free = asyncio.Semaphore(
            size
        )  # waiting for a connection on a thread would keep its holder's statements out

    @asynccontextmanager
    async def read(self) -> AsyncIterator[Statements]:
        async with self._free:
            reading = Reading(self._engine, self._threads)
            try:
                await reading.begin()
                yield reading
            finally:
                await reading.end()

    @asynccontextmanager
    async def glance(self) -> AsyncIterator[Statements]:
        """Every statement sees its own snapshot: there is no BEGIN to pay for."""
        if self._glance is None:
            self._glance = self._glancing.connect()
        try:
            yield Inline(self._glance)
        except exc.DBAPIError:
            self._close_glance()  # the next one starts afresh
            raise

    @asynccontextmanager
    async def write(self) -> AsyncIterator[Statements]:
        async with self._writer.write() as statements:
            yield statements

    async def inspect(self, look: Callable[[Connection], Result]) -> Result:
        async with self._free:
            return await on_thread(self._threads, self._within, "BEGIN", look)

    async def overhaul(self, change: Callable[[Connection], Result]) -> Result:
        async with self._writer.alone(), self._free:
            return await on_thread(self._threads, self._within, "BEGIN IMMEDIATE", change)

    def pool_usage(self) -> dict[str, int]:
        pool = self._engine.pool
        assert isinstance(pool, QueuePool)
        return {"in_use": pool.checkedout(), "idle": pool.checkedin(), "limit": pool.size()}

    async def close(self) -> None:
        """Afterwards the file is the whole database: whoever copies it has everything, without the log beside it."""
        self._close_glance()
        self._glancing.dispose()
        await on_thread(self._threads, self._engine.dispose)
        self._threads.shutdown(wait=False)
        await self._writer.close()

    def _within(self, begin: str, call: Callable[[Connection], Result]) -> Result:
        with self._engine.connect() as connection:
            connection.exec_driver_sql(begin)
            found = call(connection)
            connection.commit()
            return found

    def _close_glance(self) -> None:
        if self._glance is not None:
            self._glance.close()
            self._glance = None


class Reading:
    """A reading transaction whose statements may take long: they run, and their rows are read, on a thread."""

    def __init__(self, engine: Engine, threads: ThreadPoolExecutor) -> None:
        self._engine = engine
        self._threads = threads
        self._connection: Connection | None = None

    async def begin(self) -> None:
        await on_thread(self._threads, self._begin)

    async def execute(self, statement: Any, parameters: Any = None) -> Any:
        return await on_thread(self._threads, self._execute, statement, parameters)

    async def end(self) -> None:
        await on_thread(self._threads, self._end)

    def _begin(self) -> None:
        self._connection = self._engine.connect()
        self._connection.exec_driver_sql("BEGIN")

    def _execute(self, statement: Any, parameters: Any) -> Any:
        assert self._connection is not None
        result = self._connection.execute(statement, parameters)
        return result.freeze()() if result.returns_rows else result

    def _end(self) -> None:
        if self._connection is not None:
            self._connection.close()  # rolls back


async def on_thread(threads: ThreadPoolExecutor, call: Callable[..., Result], *arguments: Any) -> Result:
    """Whoever is cancelled meanwhile waits for the thread first: a connection is nobody else's until it is idle."""
    running = asyncio.get_running_loop().run_in_executor(threads, call, *arguments)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        while not running.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait({running})
        raise


def _reading_engine(url: URL, size: int) -> Engine:
    """Also for an overhaul, which is why it may write."""
    engine = create_engine(
        url,
        poolclass=QueuePool,
        pool_size=size,
        max_overflow=0,
        pool_timeout=STATEMENT_TIMEOUT_SECONDS,
        connect_args={"check_same_thread": False},
    )
    _set_up(engine, (*PRAGMAS, f"busy_timeout={LOCK_TIMEOUT_SECONDS * 1000}"))
    return engine


def _glancing_engine(url: URL) -> Engine:
    engine = create_engine(url, pool_size=1, max_overflow=0)
    _set_up(engine, ("query_only=ON", "busy_timeout=50", "temp_store=MEMORY"))
    return engine


def _set_up(engine: Engine, pragmas: tuple[str, ...]) -> None:
    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _entry: ConnectionPoolEntry) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves
        connection.create_function("vasset_folded", 1, folded, deterministic=True)
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}").close()
