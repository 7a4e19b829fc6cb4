"""Where driver errors become ours."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import exc

from vasset.domain.errors import DependencyDown, DiskFull, VAssetError


@asynccontextmanager
async def translated() -> AsyncIterator[None]:
    try:
        yield
    except VAssetError:
        raise
    except (exc.DBAPIError, sqlite3.Error) as error:
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


def _is_outage(error: exc.DBAPIError | sqlite3.Error) -> bool:
    state = _sqlstate(error)
    if state is not None:
        return state.startswith(_OUTAGES)
    code = _sqlite_code(error)
    if code is not None:
        return code in _SQLITE_OUTAGES
    return isinstance(error, exc.InterfaceError) or bool(getattr(error, "connection_invalidated", False))


def _sqlstate(error: exc.DBAPIError | sqlite3.Error) -> str | None:
    state = getattr(_driver_error(error), "sqlstate", None)
    return state if isinstance(state, str) else None


def _sqlite_code(error: exc.DBAPIError | sqlite3.Error) -> int | None:
    """The primary code; SQLite's extended codes carry it in their low byte."""
    code = getattr(_driver_error(error), "sqlite_errorcode", None)
    return code & 0xFF if isinstance(code, int) else None


def _driver_error(error: exc.DBAPIError | sqlite3.Error) -> BaseException | None:
    return error.orig if isinstance(error, exc.DBAPIError) else error
