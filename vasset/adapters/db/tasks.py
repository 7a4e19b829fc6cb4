"""The port ``TaskStore``: submission, wishes, leases and endings over one set of rows, and the reaper that mends what was left lying."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import and_, select, text, update

from vasset.adapters.db.database import Transaction
from vasset.adapters.db.outbox import add_wake_up
from vasset.adapters.db.tables import CLAIMABLE, RUNNING, tasks
from vasset.adapters.db.task_endings import TaskEndings
from vasset.adapters.db.task_leases import TaskLeases
from vasset.adapters.db.task_submission import TaskSubmission
from vasset.adapters.db.task_wishes import TaskWishes
from vasset.domain.download import Intent, TaskFailure

# A wake-up may have been lost with its broker; workers poll as well, so this is the second net and may be wide.
REPEAT_WAKE_UP_SECONDS = 300.0

WORKER_LOST = TaskFailure(
    "worker_lost",
    "every worker that tried this download ended in mid-task; report this address",
    retryable=False,
    kind="worker_lost",
)


# No task may take its process with it for ever, whatever its attempts say.
MAX_CLAIMS = 100


class SqlTaskStore(TaskSubmission, TaskWishes, TaskLeases, TaskEndings):
    async def take_back_all(self) -> Sequence[str]:
        """Queue again every running task, whatever its lease says; answers their ids.

        For a process that owns the database alone, at its start: whoever ran them is gone. Its end was not the tasks' fault, so the
        attempt does not count.
        """
        async with self._database.write() as transaction:
            rows = await _lock(transaction, text(RUNNING), tasks.c.created_at, limit=None)
            for row in rows:
                if row.fence >= MAX_CLAIMS and row.intent is Intent.GO_ON:
                    await self._give_up(transaction, row, WORKER_LOST)
                else:
                    await self._put_back(transaction, row, attempt=row.attempt - 1)
            return [row.id for row in rows]

    async def reap(self, *, limit: int = 100) -> Sequence[str]:
        async with self._database.write() as transaction:
            lost = await self._reap_lost(transaction, limit)
            return [*lost, *await self._wake_waiting(transaction, limit)]

    async def _reap_lost(self, transaction: Transaction, limit: int) -> list[str]:
        """Lost leases: queued again, or failed when the task has now taken ``max_attempts`` workers with it."""
        expired = and_(text(RUNNING), tasks.c.lease_until <= transaction.now)
        rows = await _lock(transaction, expired, tasks.c.created_at, limit)
        for row in rows:
            if row.attempt >= self._policy.max_attempts and row.intent is Intent.GO_ON:
                await self._give_up(transaction, row, WORKER_LOST)
            else:
                await self._put_back(transaction, row, attempt=row.attempt)
        return [row.id for row in rows]

    async def _wake_waiting(self, transaction: Transaction, limit: int) -> list[str]:
        """Retries that are due, once; and queued tasks whose wake-up was long ago, in case it was lost."""
        long_ago = transaction.now - timedelta(seconds=REPEAT_WAKE_UP_SECONDS)
        due = and_(text(CLAIMABLE), tasks.c.not_before.is_not(None), tasks.c.not_before <= transaction.now)
        stale = and_(text(CLAIMABLE), tasks.c.not_before.is_(None), tasks.c.woken_at <= long_ago)
        rows = list(await _lock(transaction, due, tasks.c.not_before, limit))
        rows += await _lock(transaction, stale, tasks.c.woken_at, limit - len(rows))
        for row in rows:
            await transaction.execute(
                update(tasks).where(tasks.c.id == row.id).values(not_before=None, woken_at=transaction.now)
            )
            await add_wake_up(transaction, row)
        return [row.id for row in rows]


async def _lock(transaction: Transaction, condition: Any, oldest_by: Any, limit: int | None) -> Sequence[Any]:
    """By user: two reapers that change the totals of several users take their rows in the same order."""
    oldest = select(tasks).where(condition).order_by(oldest_by).limit(limit)
    rows = (await transaction.execute(oldest.with_for_update(skip_locked=True))).all()
    return sorted(rows, key=lambda row: (row.user_id, row.history_id))
