"""The one statement both databases spell alike but SQLAlchemy does not: insert unless it is there."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Table
from sqlalchemy.dialects import postgresql, sqlite

from vasset.adapters.db.database import Transaction


async def insert_if_absent(transaction: Transaction, table: Table, values: dict[str, Any]) -> bool:
    """Insert a row unless a unique constraint has it already; answer whether it was inserted.

    On PostgreSQL this waits for a concurrent transaction that is inserting the same key, so the answer is final.
    """
    insert = sqlite.insert if transaction.connection.dialect.name == "sqlite" else postgresql.insert
    result = await transaction.execute(insert(table).values(values).on_conflict_do_nothing())
    return bool(result.rowcount == 1)
