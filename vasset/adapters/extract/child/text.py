"""Strings and numbers a site made up, before anybody relies on them."""

from __future__ import annotations

import math
import unicodedata
from typing import Any

from vasset.adapters.extract.addresses import is_well_formed

MAX_TITLE = 500
MOST = 2**53  # JSON has no larger whole numbers, and sums of these fit 64 bits
MOST_PIXELS = 2**31
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
    """An http(s) URL of sane length that can be taken apart; None for anything else."""
    if not isinstance(value, str) or len(value) > 8192:
        return None
    cleaned = text(f"https:{value}" if value.startswith("//") else value, limit=8192)
    return cleaned if cleaned is not None and is_well_formed(cleaned) else None


def seconds(value: Any) -> float | None:
    """A finite, non-negative number of seconds below a year."""
    number = _number(value)
    return number if number is not None and number < 366 * 86_400 else None


def count(value: Any, *, below: int = MOST) -> int | None:
    """A non-negative whole number."""
    number = _number(value)
    return int(number) if number is not None and number < below else None


def pixels(value: Any) -> int | None:
    """A side of a picture: the wire between services has 32 bits for it."""
    return count(value, below=MOST_PIXELS)


def _number(value: Any) -> float | None:
    """None also for a whole number that no float holds: Python would raise."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) and number >= 0 else None
