"""Small conversions every service's ``convert.py`` needs: protobuf knows neither None nor datetime."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any


def seconds(moment: datetime) -> float:
    return moment.timestamp()


def optional_seconds(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()


def moment(value: float) -> datetime:
    return datetime.fromtimestamp(value, UTC)


def optional(message: Any, name: str) -> Any:
    """The field's value, or None when the sender left it out."""
    return getattr(message, name) if message.HasField(name) else None


def optional_moment(message: Any, name: str) -> datetime | None:
    return moment(getattr(message, name)) if message.HasField(name) else None
