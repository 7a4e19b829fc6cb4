"""How a worker takes a task and keeps it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import timedelta
from functools import cache
from typing import Any

from sqlalchemy import Integer, Select, and_, bindparam, func, or_, select, text, true, update

from vasset.adapters.db.database import Transaction
from vasset.adapters.db.rows import failure_values, task_from
from vasset.adapters.db.store_base import CHANGE_HISTORY, HELD, StoreBase, held, is_task_id, lost
from vasset.adapters.db.tables import CLAIMABLE, RUNNING, download_history, tasks, user_totals
from vasset.domain.download import Intent, Lease, Phase, Task, TaskStatus


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
                for most_users in (FIRST_USERS, ALL_USERS):
                    chosen = whose | until | {"most_users": most_users}
                    row = (await transaction.execute(_claim_together(), chosen)).one_or_none()
                    if row is not None:
                        return Lease(task_from(row), worker, row.fence)
                return None
            chosen = (await transaction.execute(_FAIREST, whose)).scalar_one_or_none()
            if chosen is None:
                return None
            return await self._claim(transaction, chosen, worker, lease_seconds)

    async def heartbeat(
        self, lease: Lease, *, lease_seconds: float, downloaded_bytes: int | None = None, total_bytes: int | None = None
    ) -> Intent:
        async with self._database.write() as transaction:
            news: dict[str, Any] = {"lease_until": transaction.now + timedelta(seconds=lease_seconds)}
            if downloaded_bytes is not None:
                news["downloaded_bytes"] = downloaded_bytes
            if total_bytes is not None:
                news["total_bytes"] = total_bytes
            beaten = await transaction.execute(_BEAT, news | held(lease))
            intent: Intent | None = beaten.scalar_one_or_none()
            if intent is None:
                raise lost(lease)
            return intent

    async def due(self, *, limit: int) -> Sequence[Task]:
        async with self._database.glance() as transaction:
            rows = await transaction.execute(_WAITING, {"now": transaction.now, "most": limit})
            return [task_from(row) for row in rows.all()]

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


FIRST_USERS = 50
"""Of how many users, in their turn, a task is looked for before everybody is asked: nearly always the first has one."""
ALL_USERS = 2**31 - 1

_NOW = bindparam("now", type_=tasks.c.updated_at.type)


def _due(table: Any) -> Any:
    return and_(text(CLAIMABLE), or_(table.c.not_before.is_(None), table.c.not_before <= _NOW))


_DUE = _due(tasks)
_PER_USER_LIMIT = bindparam("per_user_limit", type_=Integer())


def _next_of(user_id: Any) -> Select[Any]:
    """The first due task of a user, at a site with room."""
    theirs = tasks.alias("theirs")
    return (
        select(theirs.c.id)
        .where(
            theirs.c.user_id == user_id,
            _due(theirs),
            theirs.c.site.not_in(bindparam("full_sites", expanding=True)),
        )
        .order_by(theirs.c.history_id)
        .limit(1)
    )


def _in_turn() -> Select[Any]:
    """Users with something to do, those with the fewest running tasks first; among equals whose task is the oldest."""
    here = (
        select(tasks.c.user_id, func.count().label("tasks"))
        .where(text(RUNNING), tasks.c.lease_owner == bindparam("worker"))
        .group_by(tasks.c.user_id)
        .cte("here")
        .prefix_with("MATERIALIZED")
    )
    return (
        select(user_totals.c.user_id, user_totals.c.running, user_totals.c.first_waiting)
        .select_from(user_totals.outerjoin(here, here.c.user_id == user_totals.c.user_id))
        .where(user_totals.c.first_waiting.is_not(None), func.coalesce(here.c.tasks, 0) < _PER_USER_LIMIT)
        .order_by(user_totals.c.running, user_totals.c.first_waiting)
    )


def _fairest() -> Select[Any]:
    """The due task whose turn it is."""
    chosen = tasks.alias("chosen")
    turn = _in_turn()
    first = _next_of(user_totals.c.user_id).correlate(user_totals).scalar_subquery()
    return turn.with_only_columns(chosen.c.id).join(chosen, chosen.c.id == first).limit(1)


def _fairest_unlocked() -> Select[Any]:
    """The same on PostgreSQL, passing over what another worker is claiming.

    The users are put in order before any of their tasks is looked at: in one join the planner could sort afterwards, and would have
    locked a task of every user.
    """
    users = _in_turn().limit(bindparam("most_users")).cte("users").prefix_with("MATERIALIZED")
    theirs = _next_of(users.c.user_id).correlate(users).with_for_update(skip_locked=True).lateral("next_one")
    return select(theirs.c.id).select_from(users.join(theirs, true())).limit(1)


# Built once: SQLAlchemy takes longer to put a statement together than SQLite to run it.
_FAIREST = _fairest()
_WAITING = select(tasks).where(_DUE).order_by(tasks.c.created_at, tasks.c.history_id).limit(bindparam("most"))
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
