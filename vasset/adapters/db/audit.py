"""Rows that disagree with each other, and the repairs that a row alone can prove right."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import date, timedelta
from typing import Any

from sqlalchemy import Select, and_, case, delete, exists, func, or_, select, update

from vasset.adapters.db.database import Database, Transaction
from vasset.adapters.db.dialect import insert_if_absent
from vasset.adapters.db.quota import refund, start_of
from vasset.adapters.db.tables import download_history, outbox, quota_ledger, tasks, user_quotas, user_totals
from vasset.adapters.db.totals import recount
from vasset.domain.audit import Finding, KnownFile
from vasset.domain.download import TaskStatus

BATCH = 500
LIMIT = 200  # findings of one kind: more of the same would not be read
LEASE_GRACE_SECONDS = 60.0

_DEBITS = func.coalesce(func.sum(case((quota_ledger.c.kind == "debit", 1), else_=-1)), 0)


class SqlAudit:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def findings(self) -> Sequence[Finding]:
        async with self._database.read() as transaction:
            found: list[Finding] = []
            first_day = (await transaction.execute(select(func.min(quota_ledger.c.day)))).scalar_one()
            # The janitor removes the ledger's oldest days; an empty one has lost nothing yet.
            for statement, describe in _checks(transaction, first_day or date(1, 1, 2)):
                rows = (await transaction.execute(statement.limit(LIMIT))).all()
                found += [describe(row) for row in rows]
            return found

    async def repair(self, finding: Finding) -> None:
        """Checks again under a lock; a finding that has become stale is left alone."""
        async with self._database.write() as transaction:
            await _REPAIRS[finding.check](transaction, finding.subject)

    async def files(self) -> AsyncIterator[KnownFile]:
        last = 0
        while True:
            page = (
                select(download_history)
                .where(download_history.c.id > last, download_history.c.file_path.is_not(None))
                .order_by(download_history.c.id)
                .limit(BATCH)
            )
            async with self._database.read() as transaction:
                rows = (await transaction.execute(page)).all()
            for row in rows:
                yield KnownFile(row.id, row.file_path, row.file_size or 0, row.removing, row.file_owner)
            if len(rows) < BATCH:
                return
            last = rows[-1].id

    async def statuses(self) -> Mapping[str, TaskStatus]:
        """Of every task, deleted ones included."""
        async with self._database.read() as transaction:
            return dict((await transaction.execute(select(tasks.c.id, tasks.c.status))).all())


def _checks(transaction: Transaction, kept_since: date) -> list[tuple[Select[Any], Any]]:
    return [
        (_status_mismatches(), _describe_status),
        (_histories_without_task(), _describe_orphan),
        (_completed_without_file(), _describe_fileless),
        (_unfinished_with_file(), _describe_early_file),
        (_wrong_debits(kept_since), _describe_debits),
        (_missing_refunds(kept_since), _describe_refund),
        (_wrong_counters(kept_since), _describe_counter),
        (_wrong_totals(), _describe_totals),
        (_orphaned_messages(), _describe_message),
        (_lost_leases(transaction), _describe_lease),
    ]


def _joined(*columns: Any) -> Select[Any]:
    return select(*columns).select_from(tasks.join(download_history, download_history.c.id == tasks.c.history_id))


def _status_mismatches() -> Select[Any]:
    differs = or_(
        tasks.c.status != download_history.c.status,
        tasks.c.deleted_at.is_(None) != download_history.c.deleted_at.is_(None),
    )
    return _joined(tasks.c.id, tasks.c.status, download_history.c.status.label("told")).where(differs)


def _describe_status(row: Any) -> Finding:
    return Finding("status", row.id, f"task {row.id} is {row.status}, its history says {row.told}", repairable=True)


def _histories_without_task() -> Select[Any]:
    has_task = exists().where(tasks.c.history_id == download_history.c.id)
    return select(download_history.c.id, download_history.c.task_id).where(~has_task)


def _describe_orphan(row: Any) -> Finding:
    return Finding("history", str(row.id), f"history {row.id} belongs to task {row.task_id}, which does not exist")


def _completed_without_file() -> Select[Any]:
    return _joined(tasks.c.id).where(
        tasks.c.status == TaskStatus.COMPLETED,
        download_history.c.file_path.is_(None),
        download_history.c.forgotten_reason.is_(None),
    )


def _describe_fileless(row: Any) -> Finding:
    return Finding("fileless", row.id, f"task {row.id} is completed but never had a file")


def _unfinished_with_file() -> Select[Any]:
    return _joined(tasks.c.id, tasks.c.status).where(
        tasks.c.status != TaskStatus.COMPLETED, download_history.c.file_path.is_not(None)
    )


def _describe_early_file(row: Any) -> Finding:
    return Finding("early_file", row.id, f"task {row.id} is {row.status} but its file is visible")


def _wrong_debits(kept_since: date) -> Select[Any]:
    debits = (
        select(func.count())
        .where(quota_ledger.c.task_id == tasks.c.id, quota_ledger.c.kind == "debit")
        .scalar_subquery()
    )
    differs = and_(debits != tasks.c.debits, tasks.c.created_at >= start_of(kept_since))
    return select(tasks.c.id, tasks.c.debits, debits.label("entered")).where(differs)


def _describe_debits(row: Any) -> Finding:
    return Finding("debits", row.id, f"task {row.id} was debited {row.debits} times, the ledger says {row.entered}")


def _missing_refunds(kept_since: date) -> Select[Any]:
    refunded = exists().where(
        quota_ledger.c.task_id == tasks.c.id, quota_ledger.c.kind == "refund", quota_ledger.c.n == tasks.c.debits
    )
    kept = tasks.c.created_at >= start_of(kept_since)
    return select(tasks.c.id).where(tasks.c.status == TaskStatus.FAILED, ~refunded, kept)


def _describe_refund(row: Any) -> Finding:
    return Finding("refund", row.id, f"task {row.id} failed but its quota unit was not given back", repairable=True)


def _balance() -> Any:
    return (
        select(_DEBITS)
        .where(quota_ledger.c.user_id == user_quotas.c.user_id, quota_ledger.c.day == user_quotas.c.day)
        .scalar_subquery()
    )


def _wrong_counters(kept_since: date) -> Select[Any]:
    balance = _balance()
    return select(user_quotas.c.user_id, user_quotas.c.daily_used, balance.label("balance")).where(
        user_quotas.c.daily_used != balance, user_quotas.c.day >= kept_since
    )


def _describe_counter(row: Any) -> Finding:
    return Finding(
        "counter", str(row.user_id), f"user {row.user_id} used {row.daily_used} units, the ledger says {row.balance}",
        repairable=True,
    )  # fmt: skip


def _wrong_totals() -> Select[Any]:
    counted = recount()
    differs = or_(
        user_totals.c.user_id.is_(None),
        *(user_totals.c[column.name].is_distinct_from(column) for column in counted.c if column.name != "user_id"),
    )
    kept = counted.outerjoin(user_totals, user_totals.c.user_id == counted.c.user_id)
    return select(counted.c.user_id).select_from(kept).where(differs)


def _describe_totals(row: Any) -> Finding:
    return Finding(
        "totals", str(row.user_id), f"the kept totals of user {row.user_id} are not what their downloads add up to",
        repairable=True,
    )  # fmt: skip


def _orphaned_messages() -> Select[Any]:
    has_task = exists().where(tasks.c.id == outbox.c.task_id)
    return select(outbox.c.id, outbox.c.task_id).where(~has_task)


def _describe_message(row: Any) -> Finding:
    return Finding(
        "outbox", str(row.id), f"outbox message {row.id} names task {row.task_id}, which does not exist",
        repairable=True,
    )  # fmt: skip


def _lost_leases(transaction: Transaction) -> Select[Any]:
    long_ago = transaction.now - timedelta(seconds=LEASE_GRACE_SECONDS)
    return select(tasks.c.id, tasks.c.lease_owner).where(
        and_(tasks.c.status == TaskStatus.RUNNING, tasks.c.lease_until < long_ago)
    )


def _describe_lease(row: Any) -> Finding:
    return Finding(
        "lease", row.id, f"task {row.id} lost its worker {row.lease_owner}; a running worker queues it again",
        is_note=True,
    )  # fmt: skip


async def _repair_status(transaction: Transaction, task_id: str) -> None:
    row = (await transaction.execute(select(tasks).where(tasks.c.id == task_id).with_for_update())).one()
    await transaction.execute(
        update(download_history)
        .where(download_history.c.id == row.history_id)
        .values(status=row.status, deleted_at=row.deleted_at)
    )


async def _repair_refund(transaction: Transaction, task_id: str) -> None:
    row = (await transaction.execute(select(tasks).where(tasks.c.id == task_id).with_for_update())).one()
    if row.status is TaskStatus.FAILED:
        await refund(transaction, user_id=row.user_id, task_id=row.id, n=row.debits, day=row.quota_day)


async def _repair_counter(transaction: Transaction, user_id: str) -> None:
    mine = user_quotas.c.user_id == int(user_id)
    await transaction.execute(select(user_quotas.c.id).where(mine).with_for_update())
    await transaction.execute(update(user_quotas).where(mine).values(daily_used=_balance(), updated_at=transaction.now))


async def _repair_totals(transaction: Transaction, user_id: str) -> None:
    mine = user_totals.c.user_id == int(user_id)
    await insert_if_absent(transaction, user_totals, {"user_id": int(user_id)})
    await transaction.execute(select(user_totals.c.user_id).where(mine).with_for_update())
    counted = recount()
    found = (await transaction.execute(select(counted).where(counted.c.user_id == int(user_id)))).one()
    await transaction.execute(update(user_totals).where(mine).values(dict(found._mapping)))


async def _repair_message(transaction: Transaction, message_id: str) -> None:
    await transaction.execute(delete(outbox).where(outbox.c.id == int(message_id)))


_REPAIRS = {
    "status": _repair_status,
    "refund": _repair_refund,
    "counter": _repair_counter,
    "totals": _repair_totals,
    "outbox": _repair_message,
}
