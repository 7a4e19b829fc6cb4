"""What both databases can do but SQLAlchemy does not spell alike: insert unless it is there, and text without case and accents."""

from __future__ import annotations

import unicodedata
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Executable, Table, Text, func, literal
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import GenericFunction

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


class Folded(GenericFunction[str]):
    """A text as it is searched: without case, without the accents that can be taken off (U+0300 to U+036F).

    SQLite's own ``lower`` and ``LIKE`` know the letters of ASCII alone, so it gets a function of ours (:func:`folded`); PostgreSQL has
    what is needed, without an extension. The needle goes through the same function as the haystack.
    """

    type = Text()
    name = "vasset_folded"
    inherit_cache = True


@compiles(Folded, "postgresql")
def _on_postgresql(element: Folded, compiler: Any, **options: Any) -> str:
    text = compiler.process(element.clauses, **options)
    return f"regexp_replace(normalize(lower({text}), NFKD), '[\\u0300-\\u036f]', '', 'g')"


def folded(text: str | None) -> str | None:
    """What SQLite calls ``vasset_folded``."""
    if text is None or text.isascii():
        return text and text.lower()
    letters = unicodedata.normalize("NFKD", text.lower())
    return "".join(letter for letter in letters if not "\u0300" <= letter <= "\u036f")


def mentions(column: ColumnElement[str], needle: str, *, is_sqlite: bool) -> ColumnElement[bool]:
    """Whether ``needle`` is in ``column``; no character of it means anything but itself."""
    find = func.instr if is_sqlite else func.strpos
    return find(Folded(column), Folded(literal(needle, column.type))) > 0
