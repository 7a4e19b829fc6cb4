"""What travels beside a call: who asks, which request, how much time is left, and the proof that a service is calling."""

from __future__ import annotations

import hmac
import time
from collections.abc import Sequence
from contextvars import ContextVar

import grpc
import structlog

from vasset.domain.errors import ServiceTokenRefused, Unauthenticated
from vasset.domain.user import Identity, Role

TOKEN, REQUEST_ID = "vasset-service-token", "vasset-request-id"
USER_ID, ROLE, SESSION_ID = "vasset-user-id", "vasset-role", "vasset-session-id"

Metadata = tuple[tuple[str, str], ...]

_deadline: ContextVar[float | None] = ContextVar("deadline", default=None)


def remaining_seconds(limit: float) -> float:
    """``limit``, or what is left of the deadline this call was itself given, whichever is shorter."""
    deadline = _deadline.get()
    return limit if deadline is None else max(0.001, min(limit, deadline - time.monotonic()))


def enter_deadline(seconds: float | None) -> None:
    _deadline.set(None if seconds is None else time.monotonic() + seconds)


def outgoing(token: str, identity: Identity | None) -> Metadata:
    pairs = [(TOKEN, token)]
    request_id = structlog.contextvars.get_contextvars().get("request_id")
    if request_id:
        pairs.append((REQUEST_ID, str(request_id)))
    if identity is not None:
        pairs += [
            (USER_ID, str(identity.user_id)),
            (ROLE, str(int(identity.role))),
            (SESSION_ID, str(identity.session_id)),
        ]
    return tuple(pairs)


def read(metadata: Sequence[tuple[str, str | bytes]] | None) -> dict[str, str]:
    return {key: value for key, value in (metadata or ()) if isinstance(value, str)}


def check_token(metadata: dict[str, str], token: str) -> None:
    """Raise ``ServiceTokenRefused`` unless the caller is one of our services: the user behind the call did nothing wrong."""
    if not hmac.compare_digest(metadata.get(TOKEN, "").encode(), token.encode()):
        raise ServiceTokenRefused


def identity_of(context: grpc.aio.ServicerContext[object, object]) -> Identity:
    """The user a service speaks for. Raises ``Unauthenticated`` when the metadata names nobody."""
    metadata = read(context.invocation_metadata())  # type: ignore[arg-type]  # the stub says Metadata, grpc gives pairs
    try:
        return Identity(
            user_id=int(metadata[USER_ID]), role=Role(int(metadata[ROLE])), session_id=int(metadata[SESSION_ID])
        )
    except (KeyError, ValueError):
        raise Unauthenticated("The call names no user.") from None
