"""How a worker takes a task and keeps it."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from functools import cache
from typing import Any

from sqlalchemy import Integer, and_, bindparam, func, or_, select, true, update

from vasset.adapters.db.database import Transaction
from vasset.adapters.db.rows import failure_values, task_from
from vasset.adapters.db.store_base import CHANGE_HISTORY, HELD, StoreBase, held, is_task_id, lost
from vasset.adapters.db.tables import download_history, tasks
from vasset.domain.download import CLAIMABLE, Intent, Lease, Phase, TaskStatus


class TaskLeases(StoreBase):
    async def claim(self, task_id: str, *, worker: str, lease_seconds: float) -> Lease | None:
        if not is_task_id(task_id):  # a forged message
            return None
        async with self._database.write() as transaction:
            return await self._claim(transaction, task_id, worker, lease_seconds)

    async def claim_next(
        self, *, worker: str, lease_seconds: float, per_user_limit: int, full_sites: Collection[str] = ()
    ) -> Lease | None:
        """``per_user_limit`` counts the tasks of one user that ``worker`` itself runs."""
        async with self._database.write() as transaction:
            whose = {
                "worker": worker, "now": transaction.now, "per_user_limit": per_user_limit, "full_sites": list(full_sites),
            }  # fmt: skip
            if not self._database.is_sqlite:
                until = {"until": transaction.now + timedelta(seconds=lease_seconds)}
                row = (await transaction.execute(_claim_together(), whose | until)).one_or_none()
                return None if row is None else Lease(task_from(row), worker, row.fence)
            chosen = (await transaction.execute(_FAIREST, whose)).scalar_one_or_none()
            if chosen is None:
                return None
            return await self._claim(transaction, chosen, worker, lease_seconds)

    async def heartbeat(self, lease: Lease, *, lease_seconds: float) -> Intent:
        async with self._database.write() as transaction:
            until = transaction.now + timedelta(seconds=lease_seconds)
            beaten = await transaction.execute(_BEAT, {"lease_until": until, **held(lease)})
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
        is_live: bool = False,
    ) -> None:
        known = {"title": title, "duration_seconds": duration_seconds}
        async with self._database.write() as transaction:
            news = {
                "phase": Phase.DOWNLOADING, "extractor_version": extractor_version, "total_bytes": total_bytes,
                "is_live": is_live, "updated_at": transaction.now, **known,
            }  # fmt: skip
            recorded = await transaction.execute(_RECORD, news | held(lease))
            history_id = recorded.scalar_one_or_none()
            if history_id is None:
                raise lost(lease)
            await transaction.execute(CHANGE_HISTORY, {"changed": history_id, **known})

    async def _claim(self, transaction: Transaction, task_id: str, worker: str, lease_seconds: float) -> Lease | None:
        until = transaction.now + timedelta(seconds=lease_seconds)
        claim = {"claimed": task_id, "now": transaction.now, "lease_owner": worker, "lease_until": until}
        claimed = await transaction.execute(_CLAIM, claim)
        row = claimed.one_or_none()
        if row is None:
            return None
        history = {"changed": row.history_id, "status": TaskStatus.RUNNING, "completed_at": None}
        await transaction.execute(CHANGE_HISTORY, history)
        return Lease(task_from(row), worker, row.fence)


_NOW = bindparam("now", type_=tasks.c.updated_at.type)


def _due(table: Any) -> Any:
    return and_(table.c.status.in_(list(CLAIMABLE)), or_(table.c.not_before.is_(None), table.c.not_before <= _NOW))


def _at_a_site_with_room(table: Any) -> Any:
    return table.c.site.not_in(bindparam("full_sites", expanding=True))


_DUE = _due(tasks)
_PER_USER_LIMIT = bindparam("per_user_limit", type_=Integer())


def _busy() -> Any:
    """How many tasks of each user run, everywhere and at this worker."""
    return (
        select(
            tasks.c.user_id,
            func.count().label("everywhere"),
            func.count().filter(tasks.c.lease_owner == bindparam("worker")).label("here"),
        )
        .where(tasks.c.status == TaskStatus.RUNNING)
        .group_by(tasks.c.user_id)
    )


def _fairest() -> Any:
    """The due task of the user with the fewest running ones; among equals the oldest."""
    busy = _busy().subquery()
    here, everywhere = func.coalesce(busy.c.here, 0), func.coalesce(busy.c.everywhere, 0)
    return (
        select(tasks.c.id)
        .select_from(tasks.outerjoin(busy, busy.c.user_id == tasks.c.user_id))
        .where(_DUE, _at_a_site_with_room(tasks), here < _PER_USER_LIMIT)
        .order_by(everywhere, tasks.c.created_at, tasks.c.history_id)
        .limit(1)
    )


def _fairest_unlocked() -> Any:
    """The same on PostgreSQL, passing over what another worker is claiming: users in their order first, then the first task of one of them.

    While a burst comes in PostgreSQL believes that hardly anything is queued. Joining each task with its user then took it 14 ms in a queue
    of a thousand, this takes 2 ms whatever it believes. ``created_at >= oldest`` keeps the look at a user's tasks off those that ended long ago.
    """
    busy = _materialized(_busy(), "busy")
    waiting = _materialized(
        select(
            tasks.c.user_id, func.min(tasks.c.created_at).label("oldest"), func.min(tasks.c.history_id).label("first")
        )
        .where(_DUE, _at_a_site_with_room(tasks))
        .group_by(tasks.c.user_id),
        "waiting",
    )
    here, everywhere = func.coalesce(busy.c.here, 0), func.coalesce(busy.c.everywhere, 0)
    users = _materialized(
        select(waiting.c.user_id, waiting.c.oldest)
        .select_from(waiting.outerjoin(busy, busy.c.user_id == waiting.c.user_id))
        .where(here < _PER_USER_LIMIT)
        .order_by(everywhere, waiting.c.oldest, waiting.c.first),
        "users_in_order",
    )
    theirs = tasks.alias("theirs")
    next_one = (
        select(theirs.c.id)
        .where(
            theirs.c.user_id == users.c.user_id,
            theirs.c.created_at >= users.c.oldest,
            _due(theirs),
            _at_a_site_with_room(theirs),
        )
        .order_by(theirs.c.created_at, theirs.c.history_id)
        .limit(1)
        .with_for_update(of=theirs, skip_locked=True)
        .correlate(users)
        .lateral("next_one")
    )
    return select(next_one.c.id).select_from(users.join(next_one, true())).limit(1)


def _materialized(select_: Any, name: str) -> Any:
    return select_.cte(name).prefix_with("MATERIALIZED")


# Built once: SQLAlchemy takes longer to put a statement together than SQLite to run it.
_FAIREST = _fairest()
_BEAT = update(tasks).where(HELD).returning(tasks.c.intent)
_RECORD = update(tasks).where(HELD).returning(tasks.c.history_id)
_CLAIMED = {
    "status": TaskStatus.RUNNING, "phase": Phase.PARSING, "attempt": tasks.c.attempt + 1, "fence": tasks.c.fence + 1,
    "not_before": None, "started_at": func.coalesce(tasks.c.started_at, _NOW), "updated_at": _NOW,
    **failure_values(None),
}  # fmt: skip
_CLAIM = update(tasks).where(tasks.c.id == bindparam("claimed"), _DUE).values(_CLAIMED).returning(tasks)


@cache
def _claim_together() -> Any:
    """Choose, claim and show in one round trip, by a statement that SQLite's grammar does not have and its distance does not need."""
    lease = {"lease_owner": bindparam("worker"), "lease_until": bindparam("until", type_=tasks.c.lease_until.type)}
    chosen = tasks.c.id == _fairest_unlocked().scalar_subquery()
    claimed = update(tasks).where(chosen, _DUE).values(_CLAIMED | lease).returning(tasks).cte("claimed")
    shown = update(download_history).where(download_history.c.id == claimed.c.history_id)
    running = shown.values(status=TaskStatus.RUNNING, completed_at=None)
    return select(claimed).add_cte(running.cte("shown"))
