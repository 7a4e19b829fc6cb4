"""Writing on SQLite: the statements on the event loop's own thread, one durable commit for everybody who waited.

A statement of ours takes SQLite 20-60 µs; through the driver's thread each took nine hops of the event loop, 0.5 ms of CPU. What really
waits is the commit, which forces the log to the disk, so that alone runs on a thread. Whoever wants to write meanwhile joins the next
group: one transaction, a savepoint each, one commit. Fifty downloads that start or end together wait for one disk write, not for fifty.

A group is atomic towards the disk only. Within it every writer succeeds or fails by itself, and nobody is told "done" before the commit.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any

from sqlalchemy import create_engine, event
from sqlalchemy.engine import URL, Connection
from sqlalchemy.pool import StaticPool

from vasset.domain.errors import DependencyDown
from vasset.telemetry import faultpoint

LOCK_TIMEOUT_SECONDS = 5.0
LOCK_POLL_SECONDS = 0.005
TURN_SECONDS = 0.005
"""How long one writer may keep the event loop before others get a turn of it."""


class Group:
    """The writers of one transaction. ``outcome`` is None when it is on the disk, else why it is not."""

    def __init__(self) -> None:
        self.outcome: asyncio.Future[sqlite3.Error | None] = asyncio.get_running_loop().create_future()
        self.writers = 0

    async def finished(self) -> None:
        """Wait for the commit. Raises what stopped it; cancelling the wait does not stop the commit."""
        error = await asyncio.shield(self.outcome)
        if error is not None:
            raise _again(error) from error


class Writing:
    """What a writer executes its statements on."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._since = monotonic()

    async def execute(self, statement: Any, parameters: Any = None) -> Any:
        """Suspends only for other work of the event loop; no other writer comes in between."""
        if monotonic() - self._since > TURN_SECONDS:
            await asyncio.sleep(0)
            self._since = monotonic()
        return self._connection.execute(statement, parameters)


class SqliteWriter:
    """The only writing connection of this process. ``close`` it last."""

    def __init__(self, url: URL, pragmas: tuple[str, ...]) -> None:
        self._engine = create_engine(url, poolclass=StaticPool, connect_args={"check_same_thread": False})
        self._pragmas = pragmas
        self._turn = asyncio.Lock()
        self._group: Group | None = None
        self._connection: Connection | None = None
        self._raw: sqlite3.Connection | None = None
        self._committing = ThreadPoolExecutor(1, "sqlite-commit")
        self._closing: set[asyncio.Task[None]] = set()
        self._closed = False
        event.listen(self._engine, "connect", self._prepare)

    @asynccontextmanager
    async def write(self) -> AsyncIterator[Writing]:
        """Run a block in a savepoint of its own and leave it when its group is on the disk; an exception undoes the block alone.

        Raises ``sqlite3.Error`` when the group could not be begun or committed, ``DependencyDown`` after ``close``.
        """
        async with self._turn:
            group = await self._joined()
            raw = self._open()
            raw.execute("SAVEPOINT writer")
            assert self._connection is not None
            try:
                yield Writing(self._connection)
            except BaseException as error:
                self._undo(group, error)
                refused: BaseException | None = error
            else:
                raw.execute("RELEASE writer")
                group.writers += 1
                refused = None
        if refused is None or (group.writers and isinstance(refused, Exception)):
            await group.finished()  # a refusal too: it may rest on what an earlier writer of the group wrote
        if refused is not None:
            raise refused

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """Keep every writer of this process out, for a change through another connection."""
        async with self._turn:
            yield

    async def close(self) -> None:
        """Commit what is under way, refuse what comes later. Idempotent."""
        self._closed = True
        await asyncio.gather(*self._closing)
        if self._connection is not None and self._raw is not None:
            with contextlib.suppress(
                sqlite3.Error
            ):  # another process reads, or the disk is full: the log stays, and is as good
                await asyncio.get_running_loop().run_in_executor(self._committing, _checkpoint, self._raw)
            self._connection.close()
            self._connection = self._raw = None
        self._engine.dispose()
        self._committing.shutdown(wait=False)

    async def _joined(self) -> Group:
        """The open group, or a new one. Its commit queues for the turn behind those who are waiting now: they are its members."""
        if self._closed:
            raise DependencyDown("the database is closed: the server is shutting down")
        if self._group is None:
            await self._begin()
            self._group = Group()
            closing = asyncio.create_task(self._close_group(self._group), name="commit")
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)
        return self._group

    async def _begin(self) -> None:
        """Take SQLite's lock. Another process (``vasset doctor``) may hold it; waiting for it must not stop the event loop."""
        raw = self._open()
        until = monotonic() + LOCK_TIMEOUT_SECONDS
        while True:
            try:
                raw.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError as error:
                if _primary_code(error) != sqlite3.SQLITE_BUSY or monotonic() >= until:
                    raise
            await asyncio.sleep(LOCK_POLL_SECONDS)

    async def _close_group(self, group: Group) -> None:
        async with self._turn:
            if group.outcome.done():
                return
            self._group = None
            group.outcome.set_result(await self._finish(group))

    async def _finish(self, group: Group) -> sqlite3.Error | None:
        raw = self._open()
        if not group.writers:
            raw.rollback()
            return None
        try:
            faultpoint.begin("K16")
            await asyncio.get_running_loop().run_in_executor(self._committing, raw.commit)
        except sqlite3.Error as error:
            if raw.in_transaction:
                raw.rollback()
            return error
        return None

    def _undo(self, group: Group, error: BaseException) -> None:
        """Back to before this writer. A disk that is full, or failed, made SQLite roll back everybody: then the group is over."""
        raw = self._open()
        if raw.in_transaction:
            raw.execute("ROLLBACK TO writer")
            raw.execute("RELEASE writer")
            return
        self._group = None
        lost = getattr(error, "orig", None) or error
        known = lost if isinstance(lost, sqlite3.Error) else sqlite3.OperationalError("the transaction was rolled back")
        group.outcome.set_result(known)

    def _open(self) -> sqlite3.Connection:
        if self._raw is None:
            self._connection = self._engine.connect()
            raw = self._connection.connection.driver_connection
            assert isinstance(raw, sqlite3.Connection)
            self._raw = raw
        return self._raw

    def _prepare(self, connection: sqlite3.Connection, _entry: object) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves
        for pragma in (*self._pragmas, "busy_timeout=0"):
            connection.execute(f"PRAGMA {pragma}").close()
        if faultpoint.is_armed("K16"):  # every commit checkpoints, so that one can be hit
            connection.execute("PRAGMA wal_autocheckpoint=1").close()


def _checkpoint(raw: sqlite3.Connection) -> None:
    raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").close()


def _primary_code(error: sqlite3.Error) -> int:
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def _again(error: sqlite3.Error) -> sqlite3.Error:
    """An exception of its own for each of those who share a failure: they grow tracebacks of their own."""
    copy = type(error)(*error.args)
    if (code := getattr(error, "sqlite_errorcode", None)) is not None:
        copy.sqlite_errorcode = code
    return copy
