"""Small conversions every service's ``convert.py`` needs: protobuf knows neither None nor datetime."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

LONE_SURROGATES = re.compile("[\ud800-\udfff]")


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


def wire_text(text: str) -> str:
    """Text as protobuf can carry it. Half a character becomes NUL, which the services refuse just as they refuse the half."""
    return LONE_SURROGATES.sub("\0", text)


def optional_wire_text(text: str | None) -> str | None:
    return None if text is None else wire_text(text)


def wire_integer(number: int, bits: int = 64) -> int:
    """The nearest number protobuf can carry: beyond its range nothing exists anyway."""
    limit = 1 << (bits - 1)
    return max(-limit, min(limit - 1, number))
