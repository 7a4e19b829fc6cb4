"""Progress frames as JSON, the form they have on ``progress:{task_id}`` (REQUIREMENTS D4)."""

from __future__ import annotations

import dataclasses
from typing import Any

import orjson

from vasset.domain.download import Phase
from vasset.domain.progress import ProgressFrame

FIELDS = frozenset(field.name for field in dataclasses.fields(ProgressFrame))


def encode(frame: ProgressFrame) -> bytes:
    return orjson.dumps(frame)


def decode(data: bytes) -> ProgressFrame | None:
    """None for anything that is not a frame: the channel is shared with whoever can reach Redis."""
    try:
        fields: dict[str, Any] = orjson.loads(data)
        known = {name: value for name, value in fields.items() if name in FIELDS}
        frame = ProgressFrame(**{**known, "phase": Phase(known["phase"])})
        return frame if isinstance(frame.seq, int) and isinstance(frame.task_id, str) else None
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
