"""Alembic's entry: runs on the connection that ``migrate`` hands over, inside its transaction."""

from __future__ import annotations

from typing import Any, Literal

from alembic import context
from sqlalchemy import String

from vasset.adapters.db.tables import metadata
from vasset.adapters.db.types import PlainText, UtcDateTime, Word


def render_item(kind: str, item: Any, autogen: Any) -> str | Literal[False]:
    """Write our column types into new scripts as the plain types they store."""
    if kind == "type" and isinstance(item, UtcDateTime):
        return "sa.DateTime(timezone=True)"
    if kind == "type" and isinstance(item, PlainText):
        return "sa.Text()"
    if kind == "type" and isinstance(item, Word) and isinstance(item.impl_instance, String):
        return f"sa.String(length={item.impl_instance.length})"
    return False


connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=metadata,
    render_as_batch=True,  # SQLite alters a table by copying it
    render_item=render_item,
    compare_type=True,
    compare_server_default=True,
    transactional_ddl=False,  # the transaction is the caller's, on both databases
)
context.run_migrations()
