"""Strings and numbers a site made up, before anybody relies on them."""

from __future__ import annotations

import math
import unicodedata
from typing import Any

MAX_TITLE = 500
JOINERS = "\u200c\u200d"


def text(value: Any, *, limit: int = MAX_TITLE) -> str | None:
    """A string that encodes as UTF-8, without control characters, of bounded length; None for nothing.

    Joiners stay: Persian words and families of emoji fall apart without them. Every other invisible character (soft hyphens, marks of
    direction) goes without leaving a gap; what separates leaves a space.
    """
    if value is None:
        return None
    cleaned = "".join(map(_shown, str(value)[: limit * 2]))
    cleaned = cleaned.encode("utf-8", "replace").decode("utf-8").strip(" " + JOINERS)[:limit]
    return cleaned.rstrip(" " + JOINERS) or None


def _shown(character: str) -> str:
    if character.isprintable() or character in JOINERS:
        return character
    return "" if unicodedata.category(character) == "Cf" else " "


def address(value: Any) -> str | None:
    """An http(s) URL of sane length; None for anything else."""
    if not isinstance(value, str) or len(value) > 8192:
        return None
    value = f"https:{value}" if value.startswith("//") else value
    return text(value, limit=8192) if value.lower().startswith(("http://", "https://")) else None


def seconds(value: Any) -> float | None:
    """A finite, non-negative number of seconds below a year."""
    number = _number(value)
    return number if number is not None and number < 366 * 86_400 else None


def count(value: Any) -> int | None:
    """A non-negative whole number below 2⁶³."""
    number = _number(value)
    return int(number) if number is not None and number < 2**63 else None


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if math.isfinite(value) and value >= 0 else None
