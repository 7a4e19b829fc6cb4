"""Who may call a route: deny by default. A route that carries no mark requires a signed-in user.

The check stands in the route class, before the body is read, so that no handler can forget it and a stranger learns nothing
from the validation of a body (pyLoad's CVE-2026-40071 was one JSON route weaker than its neighbours).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine
from enum import Enum
from typing import Any, TypeVar

import structlog
from fastapi import Request
from starlette.datastructures import Headers
from starlette.responses import Response

from vasset.domain.errors import Unauthenticated
from vasset.domain.ports import Authority
from vasset.domain.user import Identity

Endpoint = TypeVar("Endpoint", bound=Callable[..., Coroutine[Any, Any, Response]])

BEARER = re.compile(r"bearer +([A-Za-z0-9._~+/=-]{1,8192})\Z", re.IGNORECASE | re.ASCII)  # RFC 9110 11.1: of any case
MARK = "__vasset_access__"


class Access(Enum):
    """``SIGNED_IN`` is what an unmarked route gets; ``TICKET`` accepts a one-time ticket instead, checked by the route."""

    SIGNED_IN = "signed_in"
    TICKET = "ticket"
    PUBLIC = "public"


def public(endpoint: Endpoint) -> Endpoint:
    """Open the route to everybody. Put it directly above ``def``."""
    setattr(endpoint, MARK, Access.PUBLIC)
    return endpoint


def ticket_or_identity(endpoint: Endpoint) -> Endpoint:
    """Let the route decide between a ticket and a token: it must call :func:`identity_of` when it finds no ticket."""
    setattr(endpoint, MARK, Access.TICKET)
    return endpoint


def access_of(endpoint: Callable[..., Any]) -> Access:
    found: Access = getattr(endpoint, MARK, Access.SIGNED_IN)
    return found


def bearer_token(headers: Headers) -> str:
    """The one token of the request. Raises ``Unauthenticated`` for none, several, or anything that is not a token."""
    values = headers.getlist("authorization")
    if not values:
        raise Unauthenticated("Sign in first: the request carries no Authorization header.")
    if len(values) > 1:
        raise Unauthenticated("The request carries several Authorization headers; send one.")
    found = BEARER.match(values[0])
    if found is None:
        raise Unauthenticated("The Authorization header is not of the form 'Bearer <token>'.")
    return found[1]


async def authenticate(request: Request, authority: Authority) -> Identity:
    """Verify the bearer token once a request and remember who asks."""
    known: Identity | None = request.scope["state"].get("identity")
    if known is not None:
        return known
    identity = await authority.verify(bearer_token(request.headers))
    request.scope["state"]["identity"] = identity
    structlog.contextvars.bind_contextvars(user_id=identity.user_id)
    return identity
