"""Where driver errors become ours."""

from __future__ import annotations

import sqlite3
import ssl
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
            raise _down(error) from error
        raise
    except (exc.TimeoutError, OSError, TimeoutError) as error:
        raise _down(error) from error
    except (
        Exception
    ) as error:  # while connecting, and where it is spoken to directly, the driver's own classes come through
        state = _sqlstate(error)
        if state == "53100":
            raise DiskFull("the disk under the database is full; free some space and repeat") from error
        if (state or "").startswith(_OUTAGES) or (state is None and type(error).__module__.startswith("asyncpg.")):
            raise _down(error) from error
        raise


def _down(error: BaseException) -> DependencyDown:
    """With what an operator can do about it, where waiting will not help."""
    return DependencyDown(_REFUSALS.get(_refusal(error) or "", NO_ANSWER), retry_after_seconds=2)


def _refusal(error: BaseException) -> str | None:
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, ssl.SSLCertVerificationError):
            return "certificate"
        if (state := _sqlstate(found)) is not None and state[:2] in _REFUSALS:
            return state[:2]
        found = found.__cause__ or found.__context__
    return None


NO_ANSWER = "the database did not answer; try again shortly"
_REFUSALS = {
    "certificate": "the database's certificate is not one that sslrootcert in VASSET_DATABASE_URL vouches for, or names another host",
    "28": "the database refused our user, our password or a connection without TLS; correct VASSET_DATABASE_URL",
    "3D": "the database that VASSET_DATABASE_URL names does not exist; create it (CREATE DATABASE … ENCODING 'UTF8')",
}

# Classes of SQLSTATE that say "not now" rather than "wrong": connection, resources, operator intervention, rollback, lock; and
# the two that say "not you": whoever asked is told that the database is away, an operator what to correct.
_OUTAGES = ("08", "53", "57", "40", "55", "28", "3D")
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


def _sqlstate(error: BaseException) -> str | None:
    state = getattr(_driver_error(error), "sqlstate", None)
    return state if isinstance(state, str) else None


def _sqlite_code(error: exc.DBAPIError | sqlite3.Error) -> int | None:
    """The primary code; SQLite's extended codes carry it in their low byte."""
    code = getattr(_driver_error(error), "sqlite_errorcode", None)
    return code & 0xFF if isinstance(code, int) else None


def _driver_error(error: BaseException) -> BaseException | None:
    return error.orig if isinstance(error, exc.DBAPIError) else error
