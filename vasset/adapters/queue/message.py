"""The queue's message (REQUIREMENTS C2) between outbox and wire. Only ``task_id`` is ever believed: the row is the task."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

import orjson

MAX_BODY_BYTES = 64 * 1024


class MalformedMessage(ValueError):
    """A message that no V-Asset process wrote."""


def encode(body: Mapping[str, object]) -> bytes:
    return orjson.dumps(body)


def task_id_of(body: bytes) -> str:
    """Raises :class:`MalformedMessage` with what is wrong, never with what the message said."""
    if len(body) > MAX_BODY_BYTES:
        raise MalformedMessage(f"{len(body)} bytes, at most {MAX_BODY_BYTES} are read")
    try:
        decoded: Any = orjson.loads(body)
    except ValueError:
        raise MalformedMessage("not JSON") from None
    if not isinstance(decoded, dict) or not isinstance(decoded.get("task_id"), str):
        raise MalformedMessage("no task_id")
    try:
        return str(uuid.UUID(decoded["task_id"]))
    except ValueError:
        raise MalformedMessage("task_id is not a UUID") from None
