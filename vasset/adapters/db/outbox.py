"""Messages written in the transaction that causes them, relayed afterwards at least once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import delete, func, insert, or_, select, update

from vasset.adapters.db.database import Database, Transaction
from vasset.adapters.db.tables import outbox
from vasset.domain.download import Mode, TaskFailure
from vasset.domain.ports import OutboxMessage
from vasset.telemetry.redaction import redact_url

RELAY_SECONDS = 30.0
_ADD = insert(outbox)
# The relay runs after every submission: on PostgreSQL it takes one round trip to take and one to tick off, instead of nine.
TAKE = """
UPDATE outbox SET taken_until = coalesce($2::timestamptz, now()) + $3::interval
WHERE id IN (
  SELECT id FROM outbox WHERE taken_until IS NULL OR taken_until <= coalesce($2::timestamptz, now())
  ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED
) RETURNING id, routing_key, task_id, body
"""


async def add_wake_up(transaction: Transaction, row: Any) -> None:
    """Say "look at this task" (REQUIREMENTS C2). Losing, doubling or reordering it is harmless: the row is the task."""
    await _add(transaction, wake_up_key(row.mode), row.id, body_of(row, str(row.url)))


def wake_up_key(mode: Mode) -> str:
    return "download.archive" if mode is Mode.ARCHIVE else "download.quick"


async def add_dead_letter(transaction: Transaction, row: Any, failure: TaskFailure) -> None:
    """Tell the operators that a task failed for good. The URL loses its query: it may be signed."""
    body = body_of(row, redact_url(str(row.url)))
    body["error"] = {"reason": failure.reason, "message": failure.message, "attempts": row.attempt}
    await _add(transaction, "download.dead", row.id, body)


def body_of(row: Any, url: str) -> dict[str, Any]:
    """The message of REQUIREMENTS C2 about a row of ``tasks``."""
    return {
        "task_id": row.id,
        "user_id": row.user_id,
        "url": url,
        "mode": str(row.mode),
        "quality": row.quality,
        "format": str(row.container),
        "metadata": {"title": row.title, "duration": row.duration_seconds},
    }


async def _add(transaction: Transaction, routing_key: str, task_id: str, body: dict[str, Any]) -> None:
    message = {"routing_key": routing_key, "task_id": task_id, "body": body, "created_at": transaction.now}
    await transaction.execute(_ADD, message)


class SqlOutbox:
    """The port ``Outbox``. A taken message comes back after half a minute unless it was marked sent."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def take(self, *, limit: int) -> Sequence[OutboxMessage]:
        if not self._database.is_sqlite:
            async with self._database.direct() as (connection, clock_now):
                fetched = await connection.fetch(TAKE, limit, clock_now, timedelta(seconds=RELAY_SECONDS))
            return [OutboxMessage(**row) for row in sorted(fetched, key=lambda row: int(row["id"]))]
        async with self._database.write() as transaction:
            free = or_(outbox.c.taken_until.is_(None), outbox.c.taken_until <= transaction.now)
            oldest = select(outbox.c.id).where(free).order_by(outbox.c.id).limit(limit)
            taken = await transaction.execute(
                update(outbox)
                .where(outbox.c.id.in_(oldest))
                .values(taken_until=transaction.now + timedelta(seconds=RELAY_SECONDS))
                .returning(outbox)
            )
            rows = sorted(taken.all(), key=lambda row: row.id)
            return [OutboxMessage(row.id, row.routing_key, row.task_id, row.body) for row in rows]

    async def mark_sent(self, ids: Sequence[int]) -> None:
        if ids and not self._database.is_sqlite:
            async with self._database.direct() as (connection, _):
                await connection.execute("DELETE FROM outbox WHERE id = ANY($1::bigint[])", list(ids))
        elif ids:
            async with self._database.write() as transaction:
                await transaction.execute(delete(outbox).where(outbox.c.id.in_(list(ids))))

    async def backlog(self) -> int:
        async with self._database.read() as transaction:
            return int((await transaction.execute(select(func.count()).select_from(outbox))).scalar_one())
