"""What a worker may do to a task: take it, and, while its fence holds, write about it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, func, or_, select, update

from vasset.adapters.db.database import Transaction
from vasset.adapters.db.outbox import add_dead_letter
from vasset.adapters.db.rows import task_from
from vasset.adapters.db.store_base import StoreBase
from vasset.adapters.db.tables import download_history, tasks
from vasset.domain.download import CLAIMABLE, Intent, Lease, Mode, Phase, Task, TaskFailure, TaskStatus
from vasset.domain.errors import LeaseLost
from vasset.domain.history import PublishedFile


# What ``fail`` may have made of a task, also by way of what its user wished.
_AFTER_FAIL = (TaskStatus.RETRY, TaskStatus.FAILED, TaskStatus.CANCELLED, TaskStatus.PAUSED)


class TaskLeases(StoreBase):
    async def claim(self, task_id: str, *, worker: str, lease_seconds: float) -> Lease | None:
        async with self._database.write() as transaction:
            return await self._claim(transaction, tasks.c.id == task_id, worker, lease_seconds)

    async def claim_next(self, *, worker: str, lease_seconds: float, per_user_limit: int) -> Lease | None:
        """``per_user_limit`` counts the tasks of one user that ``worker`` itself runs."""
        async with self._database.write() as transaction:
            chosen = (await transaction.execute(_fairest(transaction.now, worker, per_user_limit))).scalar_one_or_none()
            if chosen is None:
                return None
            return await self._claim(transaction, tasks.c.id == chosen, worker, lease_seconds)

    async def heartbeat(self, lease: Lease, *, lease_seconds: float) -> Intent:
        async with self._database.write() as transaction:
            until = transaction.now + timedelta(seconds=lease_seconds)
            beaten = await transaction.execute(
                update(tasks).where(_held(lease)).values(lease_until=until).returning(tasks.c.intent)
            )
            intent: Intent | None = beaten.scalar_one_or_none()
            if intent is None:
                raise _lost(lease)
            return intent

    async def record_extraction(
        self,
        lease: Lease,
        *,
        title: str,
        duration_seconds: float | None,
        extractor_version: str,
        total_bytes: int | None,
    ) -> None:
        async with self._database.write() as transaction:
            row = await self._hold(transaction, lease)
            known = {"title": title, "duration_seconds": duration_seconds}
            await transaction.execute(
                update(tasks)
                .where(tasks.c.id == row.id)
                .values(
                    phase=Phase.DOWNLOADING, extractor_version=extractor_version, total_bytes=total_bytes,
                    updated_at=transaction.now, **known,
                )
            )  # fmt: skip
            await transaction.execute(
                update(download_history).where(download_history.c.id == row.history_id).values(**known)
            )

    async def complete(self, lease: Lease, file: PublishedFile, *, duration_seconds: float | None) -> Task:
        """A cancel that was answered before wins: then the task becomes cancelled here and the caller removes the file.

        Repeating it after a commit nobody answered finds the same file under the same fence and changes nothing.
        """
        async with self._database.write() as transaction:
            done = await self._written(transaction, lease, TaskStatus.COMPLETED)
            if done is not None and await _has_file(transaction, done, file):
                return task_from(done)
            row = await self._hold(transaction, lease)
            if row.intent is Intent.CANCEL:
                await self._cancel(transaction, row)
            else:
                return await self._publish(transaction, row, file, duration_seconds)
        raise LeaseLost("the download was cancelled before it completed; its file must be removed")

    async def fail(self, lease: Lease, failure: TaskFailure, *, retry_at: datetime | None) -> Task:
        """What the user wished meanwhile goes first: a failing task that was cancelled or paused becomes just that."""
        async with self._database.write() as transaction:
            done = await self._written(transaction, lease, *_AFTER_FAIL)
            if done is not None:
                return task_from(done)
            row = await self._hold(transaction, lease)
            if row.intent is Intent.CANCEL:
                return task_from(await self._cancel(transaction, row))
            if retry_at is None:
                return task_from(await self._give_up(transaction, row, failure))
            if row.intent is Intent.PAUSE:
                return task_from(await self._pause(transaction, row))
            waiting = await self._change(
                transaction, row, TaskStatus.RETRY,
                phase=Phase.QUEUED, not_before=retry_at, lease_owner=None, lease_until=None, **_words(failure),
            )  # fmt: skip
            return task_from(waiting)

    async def stop(self, lease: Lease, intent: Intent) -> Task:
        async with self._database.write() as transaction:
            done = await self._written(transaction, lease, TaskStatus.CANCELLED, TaskStatus.PAUSED)
            if done is not None:
                return task_from(done)
            row = await self._hold(transaction, lease)
            if Intent.CANCEL in (intent, row.intent):
                return task_from(await self._cancel(transaction, row))
            if row.intent is Intent.PAUSE:
                return task_from(await self._pause(transaction, row))
            return task_from(await self._queue(transaction, row, attempt=row.attempt - 1))  # resumed in between

    async def release(self, lease: Lease) -> None:
        async with self._database.write() as transaction:
            if await self._written(transaction, lease, TaskStatus.QUEUED, TaskStatus.CANCELLED, TaskStatus.PAUSED):
                return
            row = await self._hold(transaction, lease)
            await self._put_back(transaction, row, attempt=row.attempt - 1)

    async def _claim(
        self, transaction: Transaction, which: ColumnElement[bool], worker: str, lease_seconds: float
    ) -> Lease | None:
        claimed = await transaction.execute(
            update(tasks)
            .where(which, _due(transaction.now))
            .values(
                status=TaskStatus.RUNNING, phase=Phase.PARSING, attempt=tasks.c.attempt + 1, fence=tasks.c.fence + 1,
                lease_owner=worker, lease_until=transaction.now + timedelta(seconds=lease_seconds), not_before=None,
                started_at=func.coalesce(tasks.c.started_at, transaction.now), updated_at=transaction.now,
                failure_reason=None, failure_message=None, failure_retryable=None,
            )
            .returning(tasks)
        )  # fmt: skip
        row = claimed.one_or_none()
        if row is None:
            return None
        await transaction.execute(
            update(download_history).where(download_history.c.id == row.history_id).values(status=TaskStatus.RUNNING)
        )
        return Lease(task_from(row), worker, row.fence)

    async def _hold(self, transaction: Transaction, lease: Lease) -> Any:
        """The locked row, if the lease still owns it."""
        row = (await transaction.execute(select(tasks).where(_held(lease)).with_for_update())).one_or_none()
        if row is None:
            raise _lost(lease)
        return row

    async def _written(self, transaction: Transaction, lease: Lease, *statuses: TaskStatus) -> Any:
        """The row if this lease's own ending stands there already: a worker repeats a write whose commit nobody answered.

        The fence rises at every claim, so an equal one means that nobody ran the task since.
        """
        ended = and_(tasks.c.id == lease.task.id, tasks.c.fence == lease.fence, tasks.c.status.in_(statuses))
        return (await transaction.execute(select(tasks).where(ended))).one_or_none()

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
        await transaction.execute(
            update(download_history)
            .where(download_history.c.id == row.history_id)
            .values(
                file_path=file.relative_path, file_name=file.file_name, file_size=file.size_bytes,
                file_hash=file.digest, hash_algorithm=file.hash_algorithm, file_owner=file.owner, expire_at=expire_at,
                removing=False, forgotten_reason=None, **known,
            )
        )  # fmt: skip
        return task_from(completed)

    async def _give_up(self, transaction: Transaction, row: Any, failure: TaskFailure) -> Any:
        await self._refund(transaction, row)
        failed = await self._change(
            transaction, row, TaskStatus.FAILED,
            phase=Phase.FAILED, intent=Intent.GO_ON, completed_at=transaction.now, lease_owner=None, lease_until=None,
            not_before=None, **_words(failure),
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
            await self._queue(transaction, row, attempt=attempt)


async def _has_file(transaction: Transaction, row: Any, file: PublishedFile) -> bool:
    path = select(download_history.c.file_path).where(download_history.c.id == row.history_id)
    return bool((await transaction.execute(path)).scalar_one() == file.relative_path)


def _held(lease: Lease) -> ColumnElement[bool]:
    return and_(
        tasks.c.id == lease.task.id,
        tasks.c.fence == lease.fence,
        tasks.c.status == TaskStatus.RUNNING,
        tasks.c.lease_owner == lease.worker,
    )


def _due(now: datetime) -> ColumnElement[bool]:
    return and_(
        tasks.c.status.in_(list(CLAIMABLE)),
        or_(tasks.c.not_before.is_(None), tasks.c.not_before <= now),
    )


def _fairest(now: datetime, worker: str, per_user_limit: int) -> Any:
    """The due task of the user with the fewest running ones; among equals the oldest."""
    running = (
        select(
            tasks.c.user_id,
            func.count().label("everywhere"),
            func.count().filter(tasks.c.lease_owner == worker).label("here"),
        )
        .where(tasks.c.status == TaskStatus.RUNNING)
        .group_by(tasks.c.user_id)
        .subquery()
    )
    return (
        select(tasks.c.id)
        .select_from(tasks.outerjoin(running, running.c.user_id == tasks.c.user_id))
        .where(_due(now), func.coalesce(running.c.here, 0) < per_user_limit)
        .order_by(func.coalesce(running.c.everywhere, 0), tasks.c.created_at, tasks.c.history_id)
        .limit(1)
        .with_for_update(of=tasks, skip_locked=True)
    )


def _words(failure: TaskFailure) -> dict[str, Any]:
    return {
        "failure_reason": failure.reason,
        "failure_message": failure.message,
        "failure_retryable": failure.retryable,
    }


def _lost(lease: Lease) -> LeaseLost:
    return LeaseLost(f"worker {lease.worker} no longer holds download {lease.task.id} under fence {lease.fence}")
