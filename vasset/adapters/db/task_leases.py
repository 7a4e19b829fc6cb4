"""How a worker takes a task and keeps it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, func, or_, select, update

from vasset.adapters.db.database import Transaction
from vasset.adapters.db.rows import task_from
from vasset.adapters.db.store_base import StoreBase, held, is_task_id, lost
from vasset.adapters.db.tables import download_history, tasks
from vasset.domain.download import CLAIMABLE, Intent, Lease, Phase, TaskStatus


class TaskLeases(StoreBase):
    async def claim(self, task_id: str, *, worker: str, lease_seconds: float) -> Lease | None:
        if not is_task_id(task_id):  # a forged message
            return None
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
                update(tasks).where(held(lease)).values(lease_until=until).returning(tasks.c.intent)
            )
            intent: Intent | None = beaten.scalar_one_or_none()
            if intent is None:
                raise lost(lease)
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
        known = {"title": title, "duration_seconds": duration_seconds}
        async with self._database.write() as transaction:
            recorded = await transaction.execute(
                update(tasks)
                .where(held(lease))
                .values(
                    phase=Phase.DOWNLOADING, extractor_version=extractor_version, total_bytes=total_bytes,
                    updated_at=transaction.now, **known,
                )
                .returning(tasks.c.history_id)
            )  # fmt: skip
            history_id = recorded.scalar_one_or_none()
            if history_id is None:
                raise lost(lease)
            await transaction.execute(
                update(download_history).where(download_history.c.id == history_id).values(**known)
            )

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
            update(download_history)
            .where(download_history.c.id == row.history_id)
            .values(status=TaskStatus.RUNNING, completed_at=None)
        )
        return Lease(task_from(row), worker, row.fence)


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
