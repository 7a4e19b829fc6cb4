"""The port ``Retention``: rows that nobody needs any more, removed oldest first in small batches."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, NamedTuple

from sqlalchemy import Column, Table, and_, delete, select, text, tuple_

from vasset.adapters.db.database import Database
from vasset.adapters.db.policy import KeepTimes
from vasset.adapters.db.quota import day_of
from vasset.adapters.db.tables import (
    DELETED,
    REVOKED,
    download_history,
    idempotency_keys,
    quota_ledger,
    spent_tokens,
    user_sessions,
)


class Kind(NamedTuple):
    """Rows of ``table`` that meet ``condition`` go once ``age`` lies ``seconds`` back."""

    table: Table
    age: Column[Any]
    seconds: float
    condition: str = "1 = 1"


class SqlRetention:
    """A session takes its spent tokens with it and a history entry its task: their foreign keys do that."""

    def __init__(self, database: Database, keep: KeepTimes) -> None:
        self._database = database
        self._kinds = (
            Kind(idempotency_keys, idempotency_keys.c.created_at, keep.idempotency_keys_seconds),
            Kind(spent_tokens, spent_tokens.c.spent_at, keep.spent_tokens_seconds),
            Kind(user_sessions, user_sessions.c.expires_at, keep.ended_sessions_seconds),
            Kind(user_sessions, user_sessions.c.revoked_at, keep.ended_sessions_seconds, REVOKED),
            Kind(quota_ledger, quota_ledger.c.day, keep.ledger_seconds),
            Kind(download_history, download_history.c.deleted_at, keep.deleted_seconds, DELETED),
        )

    async def forget(self, *, limit: int) -> int:
        """Remove at most ``limit`` rows of each kind, a transaction a kind; answer how many went."""
        return sum([await self._forget(kind, limit) for kind in self._kinds])

    async def _forget(self, kind: Kind, limit: int) -> int:
        async with self._database.write() as transaction:
            before: Any = transaction.now - timedelta(seconds=kind.seconds)
            if kind.age is quota_ledger.c.day:
                before = day_of(before)
            key = list(kind.table.primary_key)
            oldest = select(*key).where(and_(text(kind.condition), kind.age < before)).order_by(kind.age).limit(limit)
            gone = await transaction.execute(delete(kind.table).where(tuple_(*key).in_(oldest)))
            return int(gone.rowcount)
