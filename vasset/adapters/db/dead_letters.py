"""The port ``DeadLetters``: failed tasks whose present failure no operator has dismissed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, and_, select, text, true, update

from vasset.adapters.db.outbox import body_of
from vasset.adapters.db.rows import failure_values
from vasset.adapters.db.store_base import StoreBase
from vasset.adapters.db.tables import DEAD, tasks
from vasset.domain.ports import DeadLetter
from vasset.telemetry.redaction import redact_url

BATCH = 500


class SqlDeadLetters(StoreBase):
    """A dismissal names the fence, so a task that is retried and fails again is on the list again."""

    async def list(self, *, limit: int, reason: str | None = None) -> Sequence[DeadLetter]:
        """Newest failures first."""
        newest = select(tasks).where(_undismissed([], reason)).order_by(tasks.c.updated_at.desc()).limit(limit)
        async with self._database.read() as transaction:
            rows = (await transaction.execute(newest)).all()
        return [_letter(row) for row in rows]

    async def replay(self, task_ids: Sequence[str], *, reason: str | None = None) -> int:
        """The unit was refunded when the task failed and is not taken again: the ledger allows no second refund of it either."""
        async with self._database.write() as transaction:
            chosen = select(tasks).where(_undismissed(task_ids, reason)).limit(BATCH)
            rows = (await transaction.execute(chosen.with_for_update(skip_locked=True))).all()
            for row in rows:
                await self._queue(
                    transaction, row,
                    attempt=0, downloaded_bytes=0, started_at=None, completed_at=None,
                    **failure_values(None),
                )  # fmt: skip
            return len(rows)

    async def purge(self, task_ids: Sequence[str], *, reason: str | None = None) -> int:
        async with self._database.write() as transaction:
            done = await transaction.execute(
                update(tasks).where(_undismissed(task_ids, reason)).values(dismissed_fence=tasks.c.fence)
            )
            return int(done.rowcount)


def _undismissed(task_ids: Sequence[str], reason: str | None) -> ColumnElement[bool]:
    condition: ColumnElement[bool] = and_(true(), text(DEAD))
    if task_ids:
        condition = and_(condition, tasks.c.id.in_(list(task_ids)))
    if reason is not None:
        condition = and_(condition, tasks.c.failure_reason == reason)
    return condition


def _letter(row: Any) -> DeadLetter:
    return DeadLetter(
        task_id=row.id,
        reason=row.failure_reason or "unknown",
        message=row.failure_message or "",
        attempt=row.attempt,
        failed_at=row.updated_at,
        body=json.dumps(body_of(row, redact_url(str(row.url))), ensure_ascii=False),
    )
