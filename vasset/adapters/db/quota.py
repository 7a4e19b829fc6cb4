"""The daily quota and its ledger: exact under races, given back exactly once.

The counter decides (one conditional UPDATE), the ledger proves (unique by task, kind and number), and the task remembers the day
it was debited on, so a refund after midnight does not grant a unit of the new day. The day is the database's UTC day.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta

from sqlalchemy import Integer, and_, bindparam, case, insert, or_, select, update

from vasset.adapters.db.database import Transaction
from vasset.adapters.db.dialect import insert_if_absent
from vasset.adapters.db.tables import quota_ledger, user_quotas
from vasset.domain.errors import QuotaExceeded
from vasset.domain.quota import Quota
from vasset.telemetry import faultpoint


def day_of(now: datetime) -> date:
    return now.astimezone(UTC).date()


def start_of(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def end_of(day: date) -> datetime:
    return start_of(day + timedelta(days=1))


# Built once: SQLAlchemy takes longer to put a statement together than SQLite to run it.
# A clock that stepped back must not open the same day twice: a stored day in the future counts as today.
_TODAY = bindparam("today", type_=user_quotas.c.day.type)
_SAME_DAY = user_quotas.c.day >= _TODAY
_LIMIT = bindparam("limit", type_=Integer())
_TAKE_UNIT = (
    update(user_quotas)
    .where(
        user_quotas.c.user_id == bindparam("of_user"),
        or_(and_(_SAME_DAY, user_quotas.c.daily_used < _LIMIT), and_(~_SAME_DAY, _LIMIT > 0)),
    )
    .values(
        daily_used=case((_SAME_DAY, user_quotas.c.daily_used + 1), else_=1),
        day=case((_SAME_DAY, user_quotas.c.day), else_=_TODAY),
        reset_at=case(
            (_SAME_DAY, user_quotas.c.reset_at), else_=bindparam("ends_at", type_=user_quotas.c.reset_at.type)
        ),
        daily_limit=_LIMIT,
        updated_at=bindparam("now"),
    )
    .returning(user_quotas.c.day)
)
_ADD_ENTRY = insert(quota_ledger)
_QUOTA = select(user_quotas).where(user_quotas.c.user_id == bindparam("of_user"))


async def debit(transaction: Transaction, *, user_id: int, daily_limit: int, task_id: str, n: int) -> date:
    """Take one unit of today and answer the day. Locks the user's row until the end of the transaction.

    Raises ``QuotaExceeded`` with the seconds until the day ends.
    """
    now = transaction.now
    today = day_of(now)
    start = {
        "user_id": user_id, "day": today, "daily_limit": daily_limit, "daily_used": 0,
        "reset_at": end_of(today), "updated_at": now,
    }  # fmt: skip
    await insert_if_absent(transaction, user_quotas, start)
    taken = await transaction.execute(
        _TAKE_UNIT,
        {"of_user": user_id, "today": today, "limit": daily_limit, "ends_at": end_of(today), "now": now},
    )
    day: date | None = taken.scalar_one_or_none()
    if day is None:
        reset_at = end_of(today)
        raise QuotaExceeded(
            f"today's {daily_limit} downloads are used up; the next are possible from {reset_at:%Y-%m-%d %H:%M} UTC",
            retry_after_seconds=max(1.0, (reset_at - now).total_seconds()),
        )
    entry = {"user_id": user_id, "task_id": task_id, "kind": "debit", "n": n, "day": day, "created_at": now}
    await transaction.execute(_ADD_ENTRY, entry)
    faultpoint.reach("K15")
    return day


async def refund(transaction: Transaction, *, user_id: int, task_id: str, n: int, day: date) -> bool:
    """Give the unit of debit ``n`` back to its own day; answer False when that happened before."""
    entry = {
        "user_id": user_id, "task_id": task_id, "kind": "refund", "n": n, "day": day, "created_at": transaction.now,
    }  # fmt: skip
    if not await insert_if_absent(transaction, quota_ledger, entry):
        return False
    await transaction.execute(
        update(user_quotas)
        .where(user_quotas.c.user_id == user_id, user_quotas.c.day == day, user_quotas.c.daily_used > 0)
        .values(daily_used=user_quotas.c.daily_used - 1, updated_at=transaction.now)
    )
    return True


async def read_quota(transaction: Transaction, *, user_id: int, daily_limit: int) -> Quota:
    """Today's numbers, under the limit that applies now."""
    row = (await transaction.execute(_QUOTA, {"of_user": user_id})).one_or_none()
    today = day_of(transaction.now)
    if row is None or row.day < today:
        return Quota(daily_limit, 0, end_of(today))
    return Quota(daily_limit, row.daily_used, row.reset_at)
