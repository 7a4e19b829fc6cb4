"""What the parts of the task store share: its policy, how it finds a task, how it changes one."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from sqlalchemy import Select, and_, bindparam, select, update

from vasset.adapters.db.database import Database, Transaction
from vasset.adapters.db.outbox import add_wake_up
from vasset.adapters.db.policy import TaskPolicy
from vasset.adapters.db.quota import refund
from vasset.adapters.db.tables import download_history, tasks
from vasset.domain.download import Intent, Lease, Phase, TaskStatus, check_transition
from vasset.domain.errors import IllegalTransition, LeaseLost, NotFound

UNKNOWN_TASK = "there is no such download, or it belongs to somebody else"
UNFINISHED = (TaskStatus.QUEUED, TaskStatus.RETRY, TaskStatus.RUNNING, TaskStatus.PAUSED)

# Built once: SQLAlchemy takes longer to put a statement together than SQLite to run it. What to set comes with the parameters.
_CHANGE_TASK = update(tasks).where(tasks.c.id == bindparam("changed")).returning(tasks)
CHANGE_HISTORY = update(download_history).where(download_history.c.id == bindparam("changed"))
HELD = and_(
    tasks.c.id == bindparam("held_task"),
    tasks.c.fence == bindparam("held_fence"),
    tasks.c.status == TaskStatus.RUNNING,
    tasks.c.lease_owner == bindparam("held_by"),
)
"""Whether the row is running under the very lease that :func:`held` gives as parameters."""

_TASK_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")


class StoreBase:
    def __init__(self, database: Database, policy: TaskPolicy | None = None) -> None:
        self._database = database
        self._policy = policy or TaskPolicy()

    async def _find(self, transaction: Transaction, task_id: str, user_id: int | None, *, lock: bool = False) -> Any:
        """The task's row. Another user's task, a deleted one and an unknown one are the same ``NotFound``."""
        if not is_task_id(task_id):  # text that no database could even look for
            raise NotFound(UNKNOWN_TASK)
        wanted = {"wanted": task_id} if user_id is None else {"wanted": task_id, "of_user": user_id}
        row = (await transaction.execute(_task(user_id is not None, lock), wanted)).one_or_none()
        if row is None:
            raise NotFound(UNKNOWN_TASK)
        return row

    async def _change(self, transaction: Transaction, row: Any, status: TaskStatus, **values: Any) -> Any:
        """Move a locked row to ``status`` together with its history row; answer the new row."""
        if row.status is not status:
            check_transition(row.status, status)
        change = {"changed": row.id, "status": status, "updated_at": transaction.now, **values}
        changed = await transaction.execute(_CHANGE_TASK, change)
        history = {"status": status, "completed_at": transaction.now if status.is_terminal else None}
        await transaction.execute(CHANGE_HISTORY, {"changed": row.history_id, **history})
        return changed.one()

    async def _cancel(self, transaction: Transaction, row: Any) -> Any:
        """Cancelled for good; the quota unit goes back once if the operator's policy says so."""
        if self._policy.refund_cancelled:
            await self._refund(transaction, row)
        return await self._change(
            transaction, row, TaskStatus.CANCELLED,
            phase=Phase.CANCELLED, intent=Intent.GO_ON, completed_at=transaction.now,
            lease_owner=None, lease_until=None, not_before=None,
        )  # fmt: skip

    async def _pause(self, transaction: Transaction, row: Any) -> Any:
        """Paused; an attempt that its user interrupted does not count.

        A task that was waiting gets a new fence, as it does in ``_queue``: what watchers are told rises with it.
        """
        return await self._change(
            transaction, row, TaskStatus.PAUSED,
            phase=Phase.PAUSED, intent=Intent.GO_ON, not_before=None, lease_owner=None, lease_until=None,
            attempt=row.attempt - 1 if row.status is TaskStatus.RUNNING else row.attempt, fence=_next_fence(row),
        )  # fmt: skip

    async def _queue(self, transaction: Transaction, row: Any, *, intent: Intent = Intent.GO_ON, **values: Any) -> Any:
        """Queued, with a wake-up in the outbox."""
        queued = await self._change(
            transaction, row, TaskStatus.QUEUED,
            phase=Phase.QUEUED, intent=intent, not_before=None, lease_owner=None, lease_until=None,
            woken_at=transaction.now, fence=_next_fence(row), **values,
        )  # fmt: skip
        await add_wake_up(transaction, queued)
        return queued

    async def _refund(self, transaction: Transaction, row: Any) -> None:
        await refund(transaction, user_id=row.user_id, task_id=row.id, n=row.debits, day=row.quota_day)


def _next_fence(row: Any) -> int:
    """An execution keeps its fence to the end: it may have to repeat a write whose commit nobody answered."""
    return int(row.fence) + (row.status is not TaskStatus.RUNNING)


def is_task_id(text: str) -> bool:
    """Whether ``text`` has the form of our ids (UUID)."""
    return _TASK_ID.match(text) is not None


@cache
def _task(of_user: bool, lock: bool) -> Select[Any]:
    statement = select(tasks).where(tasks.c.id == bindparam("wanted"), tasks.c.deleted_at.is_(None))
    if of_user:
        statement = statement.where(tasks.c.user_id == bindparam("of_user"))
    return statement.with_for_update() if lock else statement


def held(lease: Lease) -> dict[str, Any]:
    """The parameters of ``HELD``."""
    return {"held_task": lease.task.id, "held_fence": lease.fence, "held_by": lease.worker}


def lost(lease: Lease) -> LeaseLost:
    return LeaseLost(f"worker {lease.worker} no longer holds download {lease.task.id} under fence {lease.fence}")


def refuse_if_cancelled(intent: Intent) -> None:
    """A cancel that was answered is final; until the worker obeys, nothing else may be wished of the task."""
    if intent is Intent.CANCEL:
        raise IllegalTransition("this download is being cancelled; retry it once it is")
