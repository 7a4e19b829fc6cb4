"""One database of one process: two kinds of transaction, and a quick look.

SQLite needs ``BEGIN IMMEDIATE`` for every transaction that writes: with the driver's own deferred transactions a read-then-write
loses updates silently (24 of 300 survived in our measurement). ``sqlite_writer.py`` holds the only connection that writes in earnest.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar

from sqlalchemy import exc, func, select
from sqlalchemy.engine import Connection, make_url
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import QueuePool

from vasset.adapters.db.engines import SQLITE_PRAGMAS, postgresql_engine, sqlite_engine, sqlite_glancing_engine
from vasset.adapters.db.outages import translated
from vasset.adapters.db.sqlite_writer import SqliteWriter
from vasset.domain.ports import Clock

Result = TypeVar("Result")


class Statements(Protocol):
    """Whatever runs a statement: a connection in another thread or server, or one on the event loop's own thread."""

    async def execute(self, statement: Any, parameters: Any = None) -> Any: ...


@dataclass(frozen=True, slots=True)
class Transaction:
    """An open transaction and the one time that everything in it happens at (the database's clock)."""

    statements: Statements
    now: datetime
    is_sqlite: bool

    async def execute(self, statement: Any, parameters: Any = None) -> Any:
        """Answer SQLAlchemy's cursor result; untyped because its row type depends on the statement."""
        return await self.statements.execute(statement, parameters)


@dataclass(frozen=True, slots=True)
class Inline:
    """Statements that answer at once."""

    connection: Connection

    async def execute(self, statement: Any, parameters: Any = None) -> Any:
        return self.connection.execute(statement, parameters)


class Database:
    """The database of one process. Close it last."""

    def __init__(self, engine: AsyncEngine, *, clock: Clock | None = None) -> None:
        """``clock`` replaces the database's clock: for tests of leases, days and expiry."""
        self.engine = engine
        self._clock = clock
        self._is_sqlite = engine.dialect.name == "sqlite"
        self._reading = engine.execution_options(vasset_begin="BEGIN")
        self._glance: Connection | None = None
        self._glancing = sqlite_glancing_engine(engine.url) if self._is_sqlite else None
        self._writer = SqliteWriter(engine.url, SQLITE_PRAGMAS) if self._is_sqlite else None

    @property
    def is_sqlite(self) -> bool:
        return self._is_sqlite

    @asynccontextmanager
    async def read(self) -> AsyncIterator[Transaction]:
        """A consistent view; writing in it is a mistake. Raises ``DependencyDown``."""
        async with translated(), self._reading.connect() as connection, connection.begin():
            yield await self._transaction(connection)

    @asynccontextmanager
    async def glance(self) -> AsyncIterator[Transaction]:
        """A few rows by an index; await nothing else inside.

        On SQLite it runs on the event loop: such rows are 20 µs away in memory, while the driver's thread takes nine hops for them, 1 ms
        of CPU and more under load. Searches and sums belong into :meth:`read`, where they delay nobody.
        """
        if self._glancing is None:
            async with self.read() as transaction:
                yield transaction
            return
        async with translated():
            if self._glance is None:
                self._glance = self._glancing.connect()
            try:
                yield Transaction(Inline(self._glance), self._own_time(), self._is_sqlite)
            except exc.DBAPIError:
                self._close_glance()  # the next one starts afresh
                raise

    @asynccontextmanager
    async def write(self) -> AsyncIterator[Transaction]:
        """Commit at the end, roll back on any exception; await nothing else inside. Raises ``DependencyDown`` or ``DiskFull``.

        On SQLite those who write at the same time share one commit. After ``DependencyDown`` from the commit itself nobody knows whether
        it happened: callers repeat by key or by fence.
        """
        async with translated():
            if self._writer is None:
                async with self.engine.begin() as connection:
                    yield await self._transaction(connection)
            else:
                async with self._writer.write() as statements:
                    yield Transaction(statements, self._own_time(), self._is_sqlite)

    async def inspect(self, look: Callable[[Connection], Result]) -> Result:
        """What ``look`` finds on a plain connection, in a reading transaction."""
        async with translated(), self._reading.connect() as connection, connection.begin():
            return await connection.run_sync(look)

    async def overhaul(self, change: Callable[[Connection], Result]) -> Result:
        """Run ``change`` in a transaction of its own, off the event loop and beside no other writer of this process."""
        async with AsyncExitStack() as stack:
            if self._writer is not None:
                await stack.enter_async_context(self._writer.alone())
            await stack.enter_async_context(translated())
            connection = await stack.enter_async_context(self.engine.begin())
            return await connection.run_sync(change)

    async def now(self) -> datetime:
        async with self.read() as transaction:
            return transaction.now

    async def ping(self) -> None:
        """Raise ``DependencyDown`` unless a statement succeeds."""
        async with self.read() as transaction:
            await transaction.execute(select(1))

    def pool_usage(self) -> dict[str, int]:
        """Connections ``in_use``, ``idle`` and the ``limit`` of them."""
        pool = self.engine.pool
        if not isinstance(pool, QueuePool):
            return {}
        return {"in_use": pool.checkedout(), "idle": pool.checkedin(), "limit": pool.size()}

    async def close(self) -> None:
        self._close_glance()
        if self._glancing is not None:
            self._glancing.dispose()
        if self._writer is not None:
            await self._writer.close()
        await self.engine.dispose()

    def _close_glance(self) -> None:
        if self._glance is not None:
            self._glance.close()
            self._glance = None

    async def _transaction(self, connection: Any) -> Transaction:
        now = self._own_time()
        if self._clock is None and not self._is_sqlite:
            now = (await connection.execute(select(func.now()))).scalar_one().astimezone(UTC)
        return Transaction(connection, now, self._is_sqlite)

    def _own_time(self) -> datetime:
        """SQLite runs in this process: its clock is ours."""
        return self._clock.now() if self._clock is not None else datetime.now(UTC)


def open_database(url: str, *, pool_size: int = 20, clock: Clock | None = None) -> Database:
    """Prepare the engine; nothing is connected yet.

    ``pool_size`` bounds the connections of this process (REQUIREMENTS E1: at most 100). A PostgreSQL URL may carry libpq's
    ``sslmode`` and ``sslrootcert``. An SQLite URL names a file.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        return Database(sqlite_engine(parsed, pool_size), clock=clock)
    return Database(postgresql_engine(parsed, pool_size), clock=clock)
