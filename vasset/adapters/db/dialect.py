"""The one statement both databases spell alike but SQLAlchemy does not: insert unless it is there."""

from __future__ import annotations

from functools import cache
from typing import Any

from sqlalchemy import Executable, Table

from vasset.adapters.db.database import Transaction


async def insert_if_absent(transaction: Transaction, table: Table, values: dict[str, Any]) -> bool:
    """Insert a row unless a unique constraint has it already; answer whether it was inserted.

    On PostgreSQL this waits for a concurrent transaction that is inserting the same key, so the answer is final.
    """
    statement = _insert_if_absent(table, transaction.is_sqlite)
    result = await transaction.execute(statement, values)
    return bool(result.rowcount == 1)


@cache
def _insert_if_absent(table: Table, is_sqlite: bool) -> Executable:
    """Only the dialect in use is imported: the other one costs memory and time at every start."""
    if is_sqlite:
        from sqlalchemy.dialects.sqlite import insert as insert_sqlite

        return insert_sqlite(table).on_conflict_do_nothing()
    from sqlalchemy.dialects.postgresql import insert as insert_postgresql

    return insert_postgresql(table).on_conflict_do_nothing()
