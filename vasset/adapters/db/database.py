"""One database of one process: two kinds of transaction, and a quick look.

SQLite needs ``BEGIN IMMEDIATE`` for every transaction that writes: with the driver's own deferred transactions a read-then-write
loses updates silently (24 of 300 survived in our measurement). ``sqlite_writer.py`` holds the only connection that writes in earnest.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar, cast

from sqlalchemy import func, select
from sqlalchemy.engine import Connection, make_url

from vasset.adapters.db.outages import translated
from vasset.adapters.db.statements import Backend, Statements
from vasset.domain.ports import Clock

if TYPE_CHECKING:
    import asyncpg

    from vasset.adapters.db.postgresql import PostgresqlBackend

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Transaction:
    """An open transaction and the one time that everything in it happens at (by the database's clock)."""

    statements: Statements
    now: datetime
    is_sqlite: bool

    async def execute(self, statement: Any, parameters: Any = None) -> Any:
        """Answer SQLAlchemy's cursor result; untyped because its row type depends on the statement."""
        return await self.statements.execute(statement, parameters)


class Database:
    """The database of one process. Close it last."""

    def __init__(self, backend: Backend, *, clock: Clock | None = None) -> None:
        """``clock`` replaces the database's clock: for tests of leases, days and expiry."""
        self._backend = backend
        self._clock = clock
        self._told: tuple[datetime, float] | None = None

    @property
    def is_sqlite(self) -> bool:
        return self._backend.is_sqlite

    @asynccontextmanager
    async def read(self) -> AsyncIterator[Transaction]:
        """A consistent view; writing in it is a mistake. Raises ``DependencyDown``."""
        async with translated(), self._backend.read() as statements:
            yield await self._transaction(statements)

    @asynccontextmanager
    async def glance(self) -> AsyncIterator[Transaction]:
        """A few rows by an index; await nothing else inside.

        On SQLite it runs on the event loop: such rows are 20 µs away in memory, while another thread costs more than that, and much more
        under load. Searches and sums belong into :meth:`read`, where they delay nobody.
        """
        async with translated(), self._backend.glance() as statements:
            yield await self._transaction(statements)

    @asynccontextmanager
    async def write(self) -> AsyncIterator[Transaction]:
        """Commit at the end, roll back on any exception; await nothing else inside. Raises ``DependencyDown`` or ``DiskFull``.

        On SQLite those who write at the same time share one commit. After ``DependencyDown`` from the commit itself nobody knows whether
        it happened: callers repeat by key or by fence.
        """
        async with translated(), self._backend.write() as statements:
            yield await self._transaction(statements)

    async def inspect(self, look: Callable[[Connection], Result]) -> Result:
        """What ``look`` finds on a plain connection, in a reading transaction."""
        async with translated():
            return await self._backend.inspect(look)

    async def overhaul(self, change: Callable[[Connection], Result]) -> Result:
        """Run ``change`` in a transaction of its own, off the event loop and beside no other writer of this process."""
        async with translated():
            return await self._backend.overhaul(change)

    @asynccontextmanager
    async def direct(self) -> AsyncIterator[tuple[asyncpg.Connection[asyncpg.Record], datetime | None]]:
        """PostgreSQL's driver itself, for statements whose every round trip counts, and the time to use instead of the server's.

        Whoever begins a transaction ends it. Not on SQLite, where a statement is no trip. Raises ``DependencyDown`` or ``DiskFull``.
        """
        backend = cast("PostgresqlBackend", self._backend)
        async with translated(), backend.direct() as connection:
            yield connection, self._clock.now() if self._clock else None

    async def now(self) -> datetime:
        async with self.read() as transaction:
            return transaction.now

    async def ping(self) -> None:
        """Raise ``DependencyDown`` unless a statement succeeds."""
        async with self.read() as transaction:
            await transaction.execute(select(1))

    def pool_usage(self) -> dict[str, int]:
        """Connections ``in_use``, ``idle`` and the ``limit`` of them."""
        return self._backend.pool_usage()

    async def close(self) -> None:
        await self._backend.close()

    async def _transaction(self, statements: Statements) -> Transaction:
        return Transaction(statements, await self._now(statements), self.is_sqlite)

    async def _now(self, statements: Statements) -> datetime:
        """The database's time, asked for once a minute: in every transaction it would be one more round trip.

        What it said and what passed since is off by the way of that one answer and a minute's drift: milliseconds, where leases
        and retries count seconds.
        """
        if self._clock is not None:
            return self._clock.now()
        if self.is_sqlite:  # the library runs in this process: its clock is ours
            return datetime.now(UTC)
        if self._told is not None:
            said, at = self._told
            passed = time.monotonic() - at
            if passed < BELIEVED_SECONDS:
                return said + timedelta(seconds=passed)
        now: datetime = (await statements.execute(_NOW)).scalar_one().astimezone(UTC)
        self._told = now, time.monotonic()
        return now


BELIEVED_SECONDS = 60.0
_NOW = select(func.clock_timestamp())


def open_database(url: str, *, pool_size: int = 20, clock: Clock | None = None) -> Database:
    """Prepare the engine; nothing is connected yet.

    ``pool_size`` bounds the connections of this process (REQUIREMENTS E1: at most 100). A PostgreSQL URL may carry libpq's
    ``sslmode`` and ``sslrootcert``. An SQLite URL names a file.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        from vasset.adapters.db.sqlite import SqliteBackend

        return Database(SqliteBackend(parsed, pool_size=pool_size), clock=clock)
    from vasset.adapters.db.postgresql import PostgresqlBackend

    return Database(PostgresqlBackend(parsed, pool_size=pool_size), clock=clock)
