"""What a task's user may wish: see it, cancel, pause, resume, keep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import func, select, update

from vasset.adapters.db.database import Transaction
from vasset.adapters.db.rows import task_from
from vasset.adapters.db.store_base import UNFINISHED, StoreBase, refuse_if_cancelled
from vasset.adapters.db.tables import download_history, tasks
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
        mine = (tasks.c.user_id == user_id) & tasks.c.deleted_at.is_(None)
        if statuses:
            mine &= tasks.c.status.in_(list(statuses))
        newest = select(tasks).where(mine).order_by(tasks.c.created_at.desc(), tasks.c.history_id.desc())
        async with self._database.glance() as transaction:
            total = (await transaction.execute(select(func.count()).select_from(tasks).where(mine))).scalar_one()
            rows = (await transaction.execute(newest.limit(per_page).offset((page - 1) * per_page))).all()
            return Page([task_from(row) for row in rows], page, per_page, int(total))

    async def active_count(self) -> Mapping[TaskStatus, int]:
        """Unfinished tasks by status; zero for a status no task is in."""
        counted = select(tasks.c.status, func.count()).where(tasks.c.status.in_(UNFINISHED)).group_by(tasks.c.status)
        async with self._database.read() as transaction:
            found: dict[TaskStatus, int] = dict((await transaction.execute(counted)).all())
        return {status: found.get(status, 0) for status in UNFINISHED}

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
