"""What ``user_totals`` keeps, as expressions: nobody counts rows that a trigger has counted."""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from operator import add

from sqlalchemy import ColumnElement, Subquery, func, select, text

from vasset.adapters.db.store_base import UNFINISHED
from vasset.adapters.db.tables import CLAIMABLE, download_history, tasks, user_totals
from vasset.domain.download import TaskStatus


def tasks_of(statuses: Iterable[TaskStatus]) -> ColumnElement[int]:
    """How many tasks of a user are in one of ``statuses``, those included that the user has deleted."""
    return reduce(add, (user_totals.c[status] for status in statuses))


def shown_tasks_of(statuses: Iterable[TaskStatus]) -> ColumnElement[int]:
    """The same without the deleted ones. A task and its history entry are deleted together, so this counts both."""
    return reduce(
        add,
        (
            user_totals.c[status] - user_totals.c[f"hidden_{status}"] if status.is_terminal else user_totals.c[status]
            for status in statuses
        ),
    )


UNFINISHED_TASKS = tasks_of(UNFINISHED)


def recount() -> Subquery:
    """What ``user_totals`` should say, by its column names, from every task and file there is: for ``vasset doctor`` and for tests.

    Not the day's count: of earlier days nothing is kept to compare it with.
    """
    stored = (
        select(
            download_history.c.user_id, func.coalesce(func.sum(download_history.c.file_size), 0).label("stored_bytes")
        )
        .where(download_history.c.file_path.is_not(None))
        .group_by(download_history.c.user_id)
        .subquery()
    )
    completed = tasks.c.status == TaskStatus.COMPLETED
    counted = [func.count().filter(tasks.c.status == status).label(status) for status in TaskStatus]
    counted += [
        func.count().filter(tasks.c.status == status, tasks.c.deleted_at.is_not(None)).label(f"hidden_{status}")
        for status in TaskStatus
        if status.is_terminal
    ]
    return (
        select(
            tasks.c.user_id,
            *counted,
            func.coalesce(func.sum(tasks.c.downloaded_bytes).filter(completed), 0).label("downloaded_bytes"),
            func.coalesce(func.max(stored.c.stored_bytes), 0).label("stored_bytes"),
            func.min(tasks.c.history_id).filter(text(f"tasks.{CLAIMABLE}")).label("first_waiting"),
        )
        .select_from(tasks.outerjoin(stored, stored.c.user_id == tasks.c.user_id))
        .group_by(tasks.c.user_id)
        .subquery()
    )
