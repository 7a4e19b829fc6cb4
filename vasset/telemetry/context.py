"""Who and what a log line is about: bound once at the edge, carried by ``contextvars`` through every await."""

from __future__ import annotations

import random
from contextlib import AbstractContextManager

import structlog


def new_request_id() -> str:
    """To find lines by, not to keep a secret with: no call of the system for each request."""
    return f"{random.getrandbits(64):016x}"


def request_context(request_id: str, *, user_id: int | None = None) -> AbstractContextManager[None]:
    """Lines inside carry ``request_id``, and ``user_id`` once it is known."""
    known = {} if user_id is None else {"user_id": user_id}
    return structlog.contextvars.bound_contextvars(request_id=request_id, **known)


def task_context(task_id: str, *, user_id: int, url: str | None = None) -> AbstractContextManager[None]:
    """Lines inside carry ``task_id`` and ``user_id`` (REQUIREMENTS I3); the ``url`` is redacted when it is written."""
    known = {} if url is None else {"url": url}
    return structlog.contextvars.bound_contextvars(task_id=task_id, user_id=user_id, **known)
