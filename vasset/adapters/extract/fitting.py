"""An object of a child's answer → a dataclass, field by field: the annotations say what fits, and nothing else gets through.

By hand and not by pydantic: ``vasset get`` would wait for its import.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from functools import cache
from types import NoneType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

Made = TypeVar("Made")
WORDS_FOR = (str, int, float, bool, NoneType)
WHOLE = 2**63  # what databases and the wire between services hold
FINITE = 1e300


def fitted(kind: type[Made], answer: Mapping[str, Any], **built: Any) -> Made:
    """``built`` are the fields that the caller made of the answer's. Raises ``TypeError`` or ``ValueError`` for what does not fit."""
    values = dict(answer) | built
    for name, allowed in _plain(kind).items():  # type: ignore[arg-type]  # to mypy a class has no hash
        if name in values and name not in built and not any(_fits(values[name], each) for each in allowed):
            raise ValueError(f"{kind.__name__}.{name} is not what it should be")
    return kind(**values)


@cache
def _plain(kind: type[Any]) -> dict[str, tuple[Any, ...]]:
    """The fields that hold one plain value, with the types (or the words) they may have."""
    hints = get_type_hints(kind)
    found = {each.name: _allowed(hints[each.name]) for each in fields(kind)}
    return {name: allowed for name, allowed in found.items() if allowed}


def _allowed(hint: Any) -> tuple[Any, ...]:
    if get_origin(hint) is Literal:
        return get_args(hint)
    types = get_args(hint) or (hint,)
    return types if all(each in WORDS_FOR for each in types) else ()


def _fits(value: Any, allowed: Any) -> bool:
    if allowed is float:
        return type(value) in {int, float} and -FINITE < value < FINITE
    if allowed is int:
        return type(value) is int and -WHOLE <= value < WHOLE
    if allowed is str:
        return type(value) is str and _is_unicode(value)
    return type(value) is allowed if isinstance(allowed, type) else bool(value == allowed)


def _is_unicode(words: str) -> bool:
    """JSON's escapes can spell half a character, which no answer of ours can be written with."""
    try:
        words.encode()
    except UnicodeEncodeError:
        return False
    return True
