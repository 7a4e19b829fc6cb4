"""PostgreSQL behind ``Database``, over asyncpg. Imported only where PostgreSQL is used.

SQLAlchemy's engine with an asynchronous driver must be called inside ``greenlet_spawn``, which is all that its asyncio layer does as
well; but that layer imports the ORM, 6 MiB in each of four services, and wraps every call once more.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, cast

from sqlalchemy import create_engine, event, exc
from sqlalchemy.engine import URL, Connection, Engine
from sqlalchemy.pool import ConnectionPoolEntry, QueuePool
from sqlalchemy.util import greenlet_spawn

from vasset.adapters.db.statements import STATEMENT_TIMEOUT_SECONDS, Statements
from vasset.domain.errors import Unavailable

if TYPE_CHECKING:
    import asyncpg

LOCK_TIMEOUT_SECONDS = 5
Result = TypeVar("Result")


class PostgresqlBackend:
    is_sqlite = False

    def __init__(self, url: URL, *, pool_size: int) -> None:
        self._engine = _engine(url, pool_size)
        self._glancing = self._engine.execution_options(isolation_level="AUTOCOMMIT")  # of the same pool

    @asynccontextmanager
    async def read(self) -> AsyncIterator[Statements]:
        async with _connected(self._engine) as connection:
            yield _Spawned(connection)

    @asynccontextmanager
    async def glance(self) -> AsyncIterator[Statements]:
        """Every statement sees its own snapshot: BEGIN and ROLLBACK would be two more round trips."""
        async with _connected(self._glancing) as connection:
            yield _Spawned(connection)

    @asynccontextmanager
    async def write(self) -> AsyncIterator[Statements]:
        async with _connected(self._engine) as connection:
            yield _Spawned(connection)
            await greenlet_spawn(connection.commit)

    @asynccontextmanager
    async def direct(self) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
        """The driver's connection; SQLAlchemy costs 0.3 ms of CPU a statement."""
        pooled = await greenlet_spawn(self._engine.raw_connection)
        driver = cast("asyncpg.Connection[asyncpg.Record]", pooled.driver_connection)
        try:
            yield driver
        finally:
            # An interrupted rollback leaves a transaction open that the pool knows nothing of.
            await greenlet_spawn(pooled.invalidate if driver.is_in_transaction() else pooled.close)

    async def inspect(self, look: Callable[[Connection], Result]) -> Result:
        async with _connected(self._engine) as connection:
            return await greenlet_spawn(look, connection)

    async def overhaul(self, change: Callable[[Connection], Result]) -> Result:
        async with _connected(self._engine) as connection:
            changed = await greenlet_spawn(change, connection)
            await greenlet_spawn(connection.commit)
            return changed

    def pool_usage(self) -> dict[str, int]:
        pool = self._engine.pool
        if not isinstance(pool, QueuePool):
            return {}
        return {"in_use": pool.checkedout(), "idle": pool.checkedin(), "limit": pool.size()}

    async def close(self) -> None:
        await greenlet_spawn(self._engine.dispose)


@dataclass(frozen=True, slots=True)
class _Spawned:
    """A transaction's statements; it begins with the first one."""

    connection: Connection

    async def execute(self, statement: Any, parameters: Any = None) -> Any:
        return await greenlet_spawn(self.connection.execute, statement, parameters)


@asynccontextmanager
async def _connected(engine: Engine) -> AsyncIterator[Connection]:
    """Rolls back what was not committed. Whoever is cancelled meanwhile leaves the closing to go on by itself."""
    connection = await greenlet_spawn(engine.connect)
    try:
        yield connection
    finally:
        await asyncio.shield(asyncio.ensure_future(greenlet_spawn(connection.close)))


def _engine(url: URL, pool_size: int) -> Engine:
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
    engine = create_engine(
        url.set(query=query),
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=STATEMENT_TIMEOUT_SECONDS,
        connect_args=connect_args,
    )

    @event.listens_for(engine, "checkout")
    def _refuse_closed(connection: Any, _entry: ConnectionPoolEntry, _proxy: Any) -> None:
        """Instead of ``pool_pre_ping``, whose three round trips find out what asyncpg knows since the server hung up."""
        if connection.driver_connection.is_closed():
            raise exc.DisconnectionError("the server closed this connection")

    return engine


def _tls_context(mode: Any, root_certificate: Any) -> ssl.SSLContext | bool | None:
    """False is none at all; None leaves it to the driver, which encrypts where the server can."""
    if mode == "disable":
        return False
    if mode in (None, "allow", "prefer"):
        return None
    if mode not in ("require", "verify-ca", "verify-full"):
        raise Unavailable(f"VASSET_DATABASE_URL asks for sslmode={mode!r}; use require, verify-ca or verify-full")
    try:
        context = ssl.create_default_context(cafile=root_certificate)
    except OSError as error:
        raise Unavailable(f"sslrootcert in VASSET_DATABASE_URL, {root_certificate}, cannot be read: {error}") from error
    context.check_hostname = mode == "verify-full"
    if mode == "require" and root_certificate is None:
        context.verify_mode = ssl.CERT_NONE
    return context
