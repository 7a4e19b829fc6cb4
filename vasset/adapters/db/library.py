"""The port ``LibraryStore``: history, quota, statistics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy import ColumnElement, and_, bindparam, func, or_, select, true, update

from vasset.adapters.db.database import Database
from vasset.adapters.db.dialect import mentions
from vasset.adapters.db.quota import day_of, read_quota
from vasset.adapters.db.rows import history_from
from vasset.adapters.db.tables import download_history, tasks, user_quotas, user_totals
from vasset.adapters.db.totals import shown_tasks_of
from vasset.domain.download import TaskStatus
from vasset.domain.errors import IllegalTransition, NotFound
from vasset.domain.history import HistoryEntry, Page, Statistics
from vasset.domain.quota import Quota, QuotaPolicy
from vasset.domain.user import Role


class SqlLibrary:
    def __init__(self, database: Database, policy: QuotaPolicy) -> None:
        self._database = database
        self._policy = policy

    async def history(self, user_id: int, *, page: int, per_page: int, query: str | None) -> Page[HistoryEntry]:
        """``query`` is looked for in title, file name and URL, letters of either case, with or without accents, alike."""
        mine = _visible(user_id)
        total = select(shown_tasks_of(TaskStatus)).where(user_totals.c.user_id == user_id)
        if query:
            mine = and_(mine, _mentions(query, is_sqlite=self._database.is_sqlite))
            total = select(func.count()).select_from(download_history).where(mine)
        newest = select(download_history).where(mine).order_by(download_history.c.id.desc())
        first = (page - 1) * per_page
        async with self._database.read() as transaction:
            found = int((await transaction.execute(total)).scalar_one_or_none() or 0)
            rows = (await transaction.execute(newest.limit(per_page).offset(first))).all() if first < found else []
        return Page([_readable(row) for row in rows], page, per_page, found)

    async def entry(self, user_id: int, history_id: int) -> HistoryEntry:
        statement = select(download_history).where(_visible(user_id), download_history.c.id == history_id)
        async with self._database.glance() as transaction:
            row = (await transaction.execute(statement)).one_or_none()
        if row is None:
            raise NotFound("there is no such download, or it belongs to somebody else")
        return _readable(row)

    async def delete(self, user_id: int, history_id: int) -> HistoryEntry:
        async with self._database.write() as transaction:
            task = (
                await transaction.execute(
                    select(tasks.c.id, tasks.c.status)
                    .where(tasks.c.history_id == history_id, tasks.c.user_id == user_id, tasks.c.deleted_at.is_(None))
                    .with_for_update()
                )
            ).one_or_none()
            if task is None:
                raise NotFound("there is no such download, or it belongs to somebody else")
            if not task.status.is_terminal:
                raise IllegalTransition(f"this download is {task.status}; cancel it first")
            await transaction.execute(update(tasks).where(tasks.c.id == task.id).values(deleted_at=transaction.now))
            deleted = await transaction.execute(
                update(download_history)
                .where(download_history.c.id == history_id)
                .values(deleted_at=transaction.now, removing=True)
                .returning(download_history)
            )
            return history_from(deleted.one())

    async def quota(self, user_id: int, role: Role) -> Quota:
        async with self._database.glance() as transaction:
            return await read_quota(transaction, user_id=user_id, daily_limit=self._policy.limit_for(role))

    async def quota_usage(self) -> float:
        """Today's used units over the limits of the users who used any; 0 on a day without."""
        async with self._database.read() as transaction:
            totals = select(func.sum(user_quotas.c.daily_used), func.sum(user_quotas.c.daily_limit)).where(
                user_quotas.c.day >= day_of(transaction.now), user_quotas.c.daily_used > 0
            )
            used, limit = (await transaction.execute(totals)).one()
        return float(used) / float(limit) if limit else 0.0

    async def statistics(self, user_id: int | None) -> Statistics:
        whose: ColumnElement[bool] = true() if user_id is None else user_totals.c.user_id == user_id
        async with self._database.read() as transaction:
            totals = _TOTALS.where(whose)
            row = (await transaction.execute(totals, {"today": day_of(transaction.now)})).one()
        return _statistics({name: int(value or 0) for name, value in row._mapping.items()})


_TOTALS = select(
    *(func.sum(user_totals.c[status]).label(status) for status in TaskStatus),
    func.sum(user_totals.c.downloaded_bytes).label("downloaded_bytes"),
    func.sum(user_totals.c.stored_bytes).label("stored_bytes"),
    func.sum(user_totals.c.completed_that_day)
    .filter(user_totals.c.completed_day >= bindparam("today", type_=user_totals.c.completed_day.type))
    .label("completed_today"),
)


def _statistics(totals: Mapping[str, int]) -> Statistics:
    succeeded, failed = totals[TaskStatus.COMPLETED], totals[TaskStatus.FAILED]
    return Statistics(
        tasks_by_status={str(status): totals[status] for status in TaskStatus if totals[status]},
        stored_bytes=totals["stored_bytes"],
        downloaded_bytes=totals["downloaded_bytes"],
        completed_today=totals["completed_today"],
        success_rate=succeeded / (succeeded + failed) if succeeded + failed else None,
    )


def _visible(user_id: int) -> ColumnElement[bool]:
    return and_(download_history.c.user_id == user_id, download_history.c.deleted_at.is_(None))


def _mentions(query: str, *, is_sqlite: bool) -> ColumnElement[bool]:
    columns = (download_history.c.title, download_history.c.file_name, download_history.c.url)
    return or_(*(mentions(column, query, is_sqlite=is_sqlite) for column in columns))


def _readable(row: Any) -> HistoryEntry:
    """A file that is being removed is gone for readers."""
    entry = history_from(row)
    return replace(entry, file_path=None) if row.removing else entry
