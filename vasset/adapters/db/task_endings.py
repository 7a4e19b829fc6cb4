"""How an execution may end. Every ending is written under the fence, and may be repeated.

A worker repeats a write whose commit nobody answered. If the first one did happen, the row already stands in that end under the very
same fence (it rises at every claim), and the repetition changes nothing instead of looking like a lost lease.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import and_, bindparam, or_, select

from vasset.adapters.db.database import Transaction
from vasset.adapters.db.outbox import add_dead_letter
from vasset.adapters.db.rows import failure_values, task_from
from vasset.adapters.db.store_base import CHANGE_HISTORY, HELD, StoreBase, held, lost
from vasset.adapters.db.tables import download_history, tasks
from vasset.domain.download import Intent, Lease, Mode, Phase, Task, TaskFailure, TaskStatus
from vasset.domain.errors import LeaseLost
from vasset.domain.history import PublishedFile

RUNNING = TaskStatus.RUNNING
_ENDED = and_(
    tasks.c.id == bindparam("held_task"),
    tasks.c.fence == bindparam("held_fence"),
    tasks.c.status.in_(bindparam("endings", expanding=True)),
)
_HOLD = select(tasks).where(or_(HELD, _ENDED)).with_for_update()


class TaskEndings(StoreBase):
    async def complete(self, lease: Lease, file: PublishedFile, *, duration_seconds: float | None) -> Task:
        """A cancel that was answered before wins: then the task becomes cancelled here and the caller removes the file."""
        async with self._database.write() as transaction:
            row = await self._hold(transaction, lease, TaskStatus.COMPLETED)
            if row.status is TaskStatus.COMPLETED:
                if await _has_file(transaction, row, file):
                    return task_from(row)
                raise lost(lease)
            if row.intent is not Intent.CANCEL:
                return await self._publish(transaction, row, file, duration_seconds)
            await self._cancel(transaction, row)
        raise LeaseLost("the download was cancelled before it completed; its file must be removed")

    async def fail(self, lease: Lease, failure: TaskFailure, *, retry_in_seconds: float | None) -> Task:
        """What the user wished meanwhile goes first: a failing task that was cancelled or paused becomes just that."""
        async with self._database.write() as transaction:
            row = await self._hold(
                transaction, lease, TaskStatus.RETRY, TaskStatus.FAILED, TaskStatus.CANCELLED, TaskStatus.PAUSED
            )
            if row.status is not RUNNING:
                return task_from(row)
            if row.intent is Intent.CANCEL:
                return task_from(await self._cancel(transaction, row))
            if retry_in_seconds is None:
                return task_from(await self._give_up(transaction, row, failure))
            if row.intent is Intent.PAUSE:
                return task_from(await self._pause(transaction, row))
            waiting = await self._change(
                transaction, row, TaskStatus.RETRY,
                phase=Phase.QUEUED, not_before=transaction.now + timedelta(seconds=retry_in_seconds), lease_owner=None, lease_until=None, **failure_values(failure),
            )  # fmt: skip
            return task_from(waiting)

    async def stop(self, lease: Lease, intent: Intent) -> Task:
        async with self._database.write() as transaction:
            row = await self._hold(transaction, lease, TaskStatus.CANCELLED, TaskStatus.PAUSED)
            if row.status is not RUNNING:
                return task_from(row)
            if Intent.CANCEL in (intent, row.intent):
                return task_from(await self._cancel(transaction, row))
            if row.intent is Intent.PAUSE:
                return task_from(await self._pause(transaction, row))
            return task_from(await self._queue(transaction, row, attempt=row.attempt - 1))  # resumed in between

    async def release(self, lease: Lease) -> None:
        async with self._database.write() as transaction:
            row = await self._hold(transaction, lease, TaskStatus.QUEUED, TaskStatus.CANCELLED, TaskStatus.PAUSED)
            if row.status is RUNNING:
                await self._put_back(transaction, row, attempt=row.attempt - 1)

    async def _hold(self, transaction: Transaction, lease: Lease, *endings: TaskStatus) -> Any:
        """The locked row, running under this lease or ended by it. Raises ``LeaseLost``."""
        row = (await transaction.execute(_HOLD, {"endings": endings, **held(lease)})).one_or_none()
        if row is None:
            raise lost(lease)
        return row

    async def _publish(
        self, transaction: Transaction, row: Any, file: PublishedFile, duration_seconds: float | None
    ) -> Task:
        expire_at = None
        if row.mode is Mode.QUICK:
            expire_at = transaction.now + timedelta(seconds=self._policy.quick_ttl_seconds)
        known = {} if duration_seconds is None else {"duration_seconds": duration_seconds}
        completed = await self._change(
            transaction, row, TaskStatus.COMPLETED,
            phase=Phase.COMPLETED, intent=Intent.GO_ON, completed_at=transaction.now, lease_owner=None,
            lease_until=None, downloaded_bytes=file.size_bytes, total_bytes=file.size_bytes, **known,
        )  # fmt: skip
        entry = {
            "changed": row.history_id, "file_path": file.relative_path, "file_name": file.file_name,
            "file_size": file.size_bytes, "file_hash": file.digest, "hash_algorithm": file.hash_algorithm,
            "file_owner": file.owner, "expire_at": expire_at, "removing": False, "forgotten_reason": None, **known,
        }  # fmt: skip
        await transaction.execute(CHANGE_HISTORY, entry)
        return task_from(completed)

    async def _give_up(self, transaction: Transaction, row: Any, failure: TaskFailure) -> Any:
        await self._refund(transaction, row)
        failed = await self._change(
            transaction, row, TaskStatus.FAILED,
            phase=Phase.FAILED, intent=Intent.GO_ON, completed_at=transaction.now, lease_owner=None, lease_until=None,
            not_before=None, **failure_values(failure),
        )  # fmt: skip
        await add_dead_letter(transaction, failed, failure)
        return failed

    async def _put_back(self, transaction: Transaction, row: Any, *, attempt: int) -> None:
        """Queued again unless its user wished otherwise."""
        if row.intent is Intent.CANCEL:
            await self._cancel(transaction, row)
        elif row.intent is Intent.PAUSE:
            await self._pause(transaction, row)
        else:
            await self._queue(transaction, row, attempt=attempt, intent=row.intent)


async def _has_file(transaction: Transaction, row: Any, file: PublishedFile) -> bool:
    path = select(download_history.c.file_path).where(download_history.c.id == row.history_id)
    return bool((await transaction.execute(path)).scalar_one() == file.relative_path)
