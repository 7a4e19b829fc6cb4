"""What a task's user may wish: see it, cancel, pause, resume, keep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy import Select, bindparam, func, select, union_all, update

from vasset.adapters.db.database import Transaction
from vasset.adapters.db.rows import task_from
from vasset.adapters.db.store_base import UNFINISHED, StoreBase, refuse_if_cancelled
from vasset.adapters.db.tables import download_history, tasks, user_totals
from vasset.adapters.db.totals import shown_tasks_of
from vasset.domain.download import Intent, Mode, Task, TaskStatus
from vasset.domain.errors import IllegalTransition
from vasset.domain.history import Page


class TaskWishes(StoreBase):
    async def get(self, task_id: str, *, user_id: int | None) -> Task:
        async with self._database.glance() as transaction:
            return task_from(await self._find(transaction, task_id, user_id))

    async def page(
        self, user_id: int, *, statuses: Sequence[TaskStatus] = (), page: int = 1, per_page: int = 20
    ) -> Page[Task]:
        wanted = tuple(sorted(set(statuses)))
        asked = {"of_user": user_id, "first": (page - 1) * per_page, "most": per_page, "upto": page * per_page}
        async with self._database.glance() as transaction:
            total = (await transaction.execute(_total(wanted), {"of_user": user_id})).scalar_one_or_none() or 0
            if asked["first"] >= total:
                return Page([], page, per_page, int(total))
            rows = (await transaction.execute(_newest(wanted), asked)).all()
            return Page([task_from(row) for row in rows], page, per_page, int(total))

    async def active_count(self) -> Mapping[TaskStatus, int]:
        """Unfinished tasks by status; zero for a status no task is in."""
        async with self._database.read() as transaction:
            found = (await transaction.execute(_ACTIVE)).one()
        return {status: int(found._mapping[status] or 0) for status in UNFINISHED}

    async def cancel(self, task_id: str, *, user_id: int | None) -> Task:
        async with self._database.write() as transaction:
            row = await self._find(transaction, task_id, user_id, lock=True)
            if row.status is TaskStatus.CANCELLED:
                return task_from(row)
            if row.status is TaskStatus.RUNNING:
                return await self._wish(transaction, task_id, Intent.CANCEL)
            return task_from(await self._cancel(transaction, row))

    async def pause(self, task_id: str, *, user_id: int | None) -> Task:
        async with self._database.write() as transaction:
            row = await self._find(transaction, task_id, user_id, lock=True)
            if row.status is TaskStatus.PAUSED:
                return task_from(row)
            if row.status is TaskStatus.RUNNING:
                refuse_if_cancelled(row.intent)
                return await self._wish(transaction, task_id, Intent.PAUSE)
            return task_from(await self._pause(transaction, row))

    async def resume(self, task_id: str, *, user_id: int | None) -> Task:
        """Queue a paused task. One that is under way stays so, also when it was about to pause."""
        async with self._database.write() as transaction:
            row = await self._find(transaction, task_id, user_id, lock=True)
            if row.status is TaskStatus.PAUSED:
                return task_from(await self._queue(transaction, row))
            if row.status not in UNFINISHED:
                raise IllegalTransition(f"a {row.status} download cannot be resumed; retry it instead")
            refuse_if_cancelled(row.intent)
            return await self._wish(transaction, task_id, Intent.GO_ON)

    async def finish(self, task_id: str, *, user_id: int | None) -> Task:
        async with self._database.write() as transaction:
            row = await self._find(transaction, task_id, user_id, lock=True)
            if row.status is not TaskStatus.RUNNING or not row.is_live:
                raise IllegalTransition("only a live stream that is being recorded can be finished early")
            refuse_if_cancelled(row.intent)
            return await self._wish(transaction, task_id, Intent.FINISH)

    async def keep(self, task_id: str, *, user_id: int) -> Task:
        async with self._database.write() as transaction:
            row = await self._find(transaction, task_id, user_id, lock=True)
            if row.status is not TaskStatus.COMPLETED:
                raise IllegalTransition(f"a {row.status} download has no file to keep yet")
            kept = await transaction.execute(
                update(download_history)
                .where(
                    download_history.c.id == row.history_id,
                    download_history.c.file_path.is_not(None),
                    download_history.c.removing.is_(False),
                )
                .values(mode=Mode.ARCHIVE, expire_at=None)
            )
            if kept.rowcount != 1:
                raise IllegalTransition("the file of this download was cleaned up already; download it again")
            changed = await transaction.execute(
                update(tasks)
                .where(tasks.c.id == task_id)
                .values(mode=Mode.ARCHIVE, updated_at=transaction.now)
                .returning(tasks)
            )
            return task_from(changed.one())

    async def _wish(self, transaction: Transaction, task_id: str, intent: Intent) -> Task:
        changed = await transaction.execute(
            update(tasks)
            .where(tasks.c.id == task_id)
            .values(intent=intent, updated_at=transaction.now)
            .returning(tasks)
        )
        return task_from(changed.one())


# Built once: SQLAlchemy takes longer to put a statement together than SQLite to run it.
_ACTIVE = select(*(func.sum(user_totals.c[status]).label(status) for status in UNFINISHED))
_MINE = (tasks.c.user_id == bindparam("of_user")) & tasks.c.deleted_at.is_(None)
_NEWEST_FIRST = (tasks.c.created_at.desc(), tasks.c.history_id.desc())


@cache
def _total(statuses: tuple[TaskStatus, ...]) -> Select[Any]:
    return select(shown_tasks_of(statuses or TaskStatus)).where(user_totals.c.user_id == bindparam("of_user"))


@cache
def _newest(statuses: tuple[TaskStatus, ...]) -> Select[Any]:
    """One page. Of several statuses the newest of each are merged: an index has each of them in order, but not their union."""
    newest = select(tasks).where(_MINE).order_by(*_NEWEST_FIRST)
    if len(statuses) > 1:
        parts = (
            select(tasks.c.id).where(_MINE, tasks.c.status == status).order_by(*_NEWEST_FIRST).limit(bindparam("upto"))
            for status in statuses
        )
        candidates = union_all(*(select(part.subquery().c.id) for part in parts)).subquery()
        newest = select(tasks).where(tasks.c.id.in_(select(candidates.c.id))).order_by(*_NEWEST_FIRST)
    elif statuses:
        newest = newest.where(tasks.c.status == statuses[0])
    return newest.limit(bindparam("most")).offset(bindparam("first"))
