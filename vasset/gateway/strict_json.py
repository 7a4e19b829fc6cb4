"""JSON as a contract, not as a suggestion: no duplicate keys, no NaN, no infinity, no lone surrogates, depth ≤ 32.

``json`` accepts all five, and FastAPI passes them on; the last one then breaks far away, at the first UTF-8 encoding.
"""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

from vasset.domain.errors import InvalidInput
from vasset.gateway.errors import NotText

MAX_DEPTH = 32
MAX_INTEGER_DIGITS = 30


def parse(body: bytes) -> Any:
    """Decode UTF-8 JSON. Raises ``InvalidInput``, or ``NotText`` for lone surrogates."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidInput("The body is not UTF-8.") from None
    if text.startswith("\ufeff"):
        raise InvalidInput("The body starts with a byte order mark; send plain UTF-8.")
    try:
        value = json.loads(
            text,
            object_pairs_hook=_object,
            parse_constant=_refuse_constant,
            parse_float=_finite,
            parse_int=_short_integer,
        )
    except json.JSONDecodeError as error:
        raise InvalidInput(f"The body is not JSON: {error.msg} at character {error.pos}.") from None
    except RecursionError:
        raise InvalidInput(f"The body is nested deeper than {MAX_DEPTH} levels.") from None
    _check(value)
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise InvalidInput("An object in the body names the same key twice.")
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise InvalidInput(f"The body holds {name}, which is not JSON.")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise InvalidInput("The body holds a number too large to keep.")
    return value


def _short_integer(text: str) -> int:
    if len(text) > MAX_INTEGER_DIGITS:
        raise InvalidInput("The body holds a number too large to keep.")
    return int(text)


def _check(value: Any) -> None:
    pending: list[tuple[Any, int]] = [(value, 1)]
    while pending:
        item, depth = pending.pop()
        if isinstance(item, str):
            _check_text(item)
        elif isinstance(item, dict | list):
            if depth > MAX_DEPTH:
                raise InvalidInput(f"The body is nested deeper than {MAX_DEPTH} levels.")
            if isinstance(item, dict):
                for key in item:
                    _check_text(key)
                item = item.values()
            pending.extend((child, depth + 1) for child in item)


def _check_text(text: str) -> None:
    if not text.isascii():
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            raise NotText() from None
