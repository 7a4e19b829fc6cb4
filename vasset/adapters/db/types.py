"""Column types that mean the same on SQLite and PostgreSQL."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Generic, TypeVar

from sqlalchemy import BigInteger, DateTime, Dialect, Integer, String, Text
from sqlalchemy.types import TypeDecorator

# SQLite numbers rows by itself only for the exact type INTEGER.
Identifier = BigInteger().with_variant(Integer(), "sqlite")

Member = TypeVar("Member", bound=StrEnum)


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC time. Refuses naive values on the way in; SQLite, which forgets the zone, gets it back on the way out."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value!r} has no time zone; only aware times are stored")
        in_utc = value.astimezone(UTC)
        return in_utc.replace(tzinfo=None) if dialect.name == "sqlite" else in_utc

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Word(TypeDecorator[Member], Generic[Member]):
    """An enum stored as its word. Not a native enum: adding a word must not need ``ALTER TYPE``."""

    impl = String
    cache_ok = True

    def __init__(self, members: type[Member], length: int = 32) -> None:
        super().__init__(length)
        self.members = members

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        return None if value is None else str(self.members(value))

    def process_result_value(self, value: Any, dialect: Dialect) -> Member | None:
        return None if value is None else self.members(value)


class PlainText(TypeDecorator[str]):
    """Text from strangers (titles, messages). NUL and lone surrogates, which no database stores, become U+FFFD."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else storable(value)


def storable(text: str) -> str:
    return text.replace("\0", "\ufffd").encode("utf-16", "surrogatepass").decode("utf-16", "replace")
