"""How connections to both databases are opened and set up."""

from __future__ import annotations

import ssl
from typing import Any

from sqlalchemy import create_engine, event
from sqlalchemy.engine import URL, Engine
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

STATEMENT_TIMEOUT_SECONDS = 10  # REQUIREMENTS G
LOCK_TIMEOUT_SECONDS = 5
SQLITE_PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=FULL",  # an acknowledged task survives power loss, not only kill -9
    "foreign_keys=ON",
    "temp_store=MEMORY",
)


def sqlite_engine(url: URL, pool_size: int) -> AsyncEngine:
    engine = create_async_engine(
        url, pool_size=min(pool_size, 8), max_overflow=0, pool_timeout=STATEMENT_TIMEOUT_SECONDS
    )

    @event.listens_for(engine.sync_engine, "connect")
    def _prepare(connection: Any, _entry: ConnectionPoolEntry) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves
        cursor = connection.cursor()
        for pragma in (*SQLITE_PRAGMAS, f"busy_timeout={LOCK_TIMEOUT_SECONDS * 1000}"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def _begin(connection: Any) -> None:
        connection.exec_driver_sql(connection.get_execution_options().get("vasset_begin", "BEGIN IMMEDIATE"))

    return engine


def sqlite_glancing_engine(url: URL) -> Engine:
    """One read-only connection of the event loop's thread. Every statement sees its own snapshot: there is no BEGIN to pay for."""
    engine = create_engine(url.set(drivername="sqlite+pysqlite"), pool_size=1, max_overflow=0)

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _entry: ConnectionPoolEntry) -> None:
        connection.isolation_level = None
        for pragma in ("query_only=ON", "busy_timeout=50", "temp_store=MEMORY"):
            connection.execute(f"PRAGMA {pragma}").close()

    return engine


def postgresql_engine(url: URL, pool_size: int) -> AsyncEngine:
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
