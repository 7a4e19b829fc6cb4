"""One engine, two kinds of transaction, one place where driver errors become ours.

SQLite needs ``BEGIN IMMEDIATE`` for every transaction that writes: with the driver's own deferred transactions a read-then-write
loses updates silently (24 of 300 survived in our measurement). Writers also queue on a lock of this process first, because SQLite's
busy handler polls and is not fair; one process owns the file.
"""

from __future__ import annotations

import asyncio
import sqlite3
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

from sqlalchemy import create_engine, event, exc, func, select
from sqlalchemy.engine import URL, Connection, Engine, make_url
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry, QueuePool

from vasset.domain.errors import DependencyDown, DiskFull, VAssetError
from vasset.domain.ports import Clock

STATEMENT_TIMEOUT_SECONDS = 10  # REQUIREMENTS G
LOCK_TIMEOUT_SECONDS = 5


@dataclass(frozen=True, slots=True)
class Transaction:
    """An open transaction and the one time that everything in it happens at (the database's clock)."""

    connection: AsyncConnection
    now: datetime

    async def execute(self, statement: Any, parameters: Any = None) -> Any:
        """Answer SQLAlchemy's cursor result; untyped because its row type depends on the statement."""
        return await self.connection.execute(statement, parameters)


@dataclass(frozen=True, slots=True)
class Glance(Transaction):
    """A reading transaction that answers on the event loop's own thread: ``execute`` never suspends."""

    inline: Connection

    async def execute(self, statement: Any, parameters: Any = None) -> Any:
        return self.inline.execute(statement, parameters)


class Database:
    """The database of one process. Close it last."""

    def __init__(self, engine: AsyncEngine, *, clock: Clock | None = None) -> None:
        """``clock`` replaces the database's clock: for tests of leases, days and expiry."""
        self.engine = engine
        self._clock = clock
        self._is_sqlite = engine.dialect.name == "sqlite"
        self._writer = asyncio.Lock()
        self._reading = engine.execution_options(vasset_begin="BEGIN")
        self._glance: Connection | None = None
        self._glancing = _sqlite_glancing_engine(engine.url) if self._is_sqlite and engine.url.database else None

    @property
    def is_sqlite(self) -> bool:
        return self._is_sqlite

    @asynccontextmanager
    async def read(self) -> AsyncIterator[Transaction]:
        """A consistent view; writing in it is a mistake. Raises ``DependencyDown``."""
        async with _translated(), self._reading.connect() as connection, connection.begin():
            yield Transaction(connection, await self._now(connection))

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
        async with _translated():
            if self._glance is None:
                self._glance = self._glancing.connect()
            now = self._clock.now() if self._clock else datetime.now(UTC)
            try:
                yield Glance(cast("AsyncConnection", None), now, self._glance)
            except exc.DBAPIError:
                self._close_glance()  # the next one starts afresh
                raise

    @asynccontextmanager
    async def write(self) -> AsyncIterator[Transaction]:
        """Commit at the end, roll back on any exception. Raises ``DependencyDown`` or ``DiskFull``.

        After ``DependencyDown`` from the commit itself nobody knows whether it happened: callers repeat by key or by fence.
        """
        async with AsyncExitStack() as stack:
            if self._is_sqlite:
                await stack.enter_async_context(self._writer)
            await stack.enter_async_context(_translated())
            connection = await stack.enter_async_context(self.engine.begin())
            yield Transaction(connection, await self._now(connection))

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
        await self.engine.dispose()

    def _close_glance(self) -> None:
        if self._glance is not None:
            self._glance.close()
            self._glance = None

    async def _now(self, connection: AsyncConnection) -> datetime:
        if self._clock is not None:
            return self._clock.now()
        if self._is_sqlite:  # the library runs in this process: its clock is ours
            return datetime.now(UTC)
        now: datetime = (await connection.execute(select(func.now()))).scalar_one()
        return now.astimezone(UTC)


def open_database(url: str, *, pool_size: int = 20, clock: Clock | None = None) -> Database:
    """Prepare the engine; nothing is connected yet.

    ``pool_size`` bounds the connections of this process (REQUIREMENTS E1: at most 100). A PostgreSQL URL may carry libpq's
    ``sslmode`` and ``sslrootcert``.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        return Database(_sqlite_engine(parsed, pool_size), clock=clock)
    return Database(_postgresql_engine(parsed, pool_size), clock=clock)


def _sqlite_engine(url: URL, pool_size: int) -> AsyncEngine:
    engine = create_async_engine(
        url, pool_size=min(pool_size, 8), max_overflow=0, pool_timeout=STATEMENT_TIMEOUT_SECONDS
    )

    @event.listens_for(engine.sync_engine, "connect")
    def _prepare(connection: Any, _entry: ConnectionPoolEntry) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves
        cursor = connection.cursor()
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",  # an acknowledged task survives power loss, not only kill -9
            "foreign_keys=ON",
            f"busy_timeout={LOCK_TIMEOUT_SECONDS * 1000}",
            "temp_store=MEMORY",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def _begin(connection: Any) -> None:
        connection.exec_driver_sql(connection.get_execution_options().get("vasset_begin", "BEGIN IMMEDIATE"))

    return engine


def _sqlite_glancing_engine(url: URL) -> Engine:
    """One read-only connection of the event loop's thread. Every statement sees its own snapshot: there is no BEGIN to pay for."""
    engine = create_engine(url.set(drivername="sqlite+pysqlite"), pool_size=1, max_overflow=0)

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _entry: ConnectionPoolEntry) -> None:
        connection.isolation_level = None
        for pragma in ("query_only=ON", "busy_timeout=50", "temp_store=MEMORY"):
            connection.execute(f"PRAGMA {pragma}").close()

    return engine


def _postgresql_engine(url: URL, pool_size: int) -> AsyncEngine:
    query = dict(url.query)
    context = _tls_context(query.pop("sslmode", None), query.pop("sslrootcert", None))
    connect_args: dict[str, Any] = {
        "timeout": STATEMENT_TIMEOUT_SECONDS,
        "command_timeout": STATEMENT_TIMEOUT_SECONDS,
        "server_settings": {
            "application_name": "vasset",
            "timezone": "UTC",
            "statement_timeout": str(STATEMENT_TIMEOUT_SECONDS * 1000),
            "lock_timeout": str(LOCK_TIMEOUT_SECONDS * 1000),
            "idle_in_transaction_session_timeout": str(STATEMENT_TIMEOUT_SECONDS * 1000),
        },
    }
    if context is not None:
        connect_args["ssl"] = context
    return create_async_engine(
        url.set(query=query),
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=STATEMENT_TIMEOUT_SECONDS,
        pool_pre_ping=True,
        connect_args=connect_args,
    )


def _tls_context(mode: Any, root_certificate: Any) -> ssl.SSLContext | None:
    if mode in (None, "disable", "allow", "prefer"):
        return None
    if mode not in ("require", "verify-ca", "verify-full"):
        raise ValueError(f"the database URL asks for sslmode={mode!r}; use require, verify-ca or verify-full")
    context = ssl.create_default_context(cafile=root_certificate)
    context.check_hostname = mode == "verify-full"
    if mode == "require" and root_certificate is None:
        context.verify_mode = ssl.CERT_NONE
    return context


@asynccontextmanager
async def _translated() -> AsyncIterator[None]:
    try:
        yield
    except VAssetError:
        raise
    except exc.DBAPIError as error:
        if _sqlite_code(error) == sqlite3.SQLITE_FULL or _sqlstate(error) == "53100":
            raise DiskFull("the disk under the database is full; free some space and repeat") from error
        if _is_outage(error):
            raise DependencyDown("the database did not answer; try again shortly", retry_after_seconds=2) from error
        raise
    except (exc.TimeoutError, OSError, TimeoutError) as error:
        raise DependencyDown("the database did not answer; try again shortly", retry_after_seconds=2) from error


# Classes of SQLSTATE that say "not now" rather than "wrong": connection, resources, operator intervention, rollback, lock.
_OUTAGES = ("08", "53", "57", "40", "55")
_SQLITE_OUTAGES = frozenset(
    {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY}
)


def _is_outage(error: exc.DBAPIError) -> bool:
    state = _sqlstate(error)
    if state is not None:
        return state.startswith(_OUTAGES)
    code = _sqlite_code(error)
    if code is not None:
        return code in _SQLITE_OUTAGES
    return error.connection_invalidated or isinstance(error, exc.InterfaceError)


def _sqlstate(error: exc.DBAPIError) -> str | None:
    state = getattr(error.orig, "sqlstate", None)
    return state if isinstance(state, str) else None


def _sqlite_code(error: exc.DBAPIError) -> int | None:
    """The primary code; SQLite's extended codes carry it in their low byte."""
    code = getattr(error.orig, "sqlite_errorcode", None)
    return code & 0xFF if isinstance(code, int) else None
