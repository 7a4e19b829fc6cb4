"""One-time tickets: what a browser may put where it cannot put an Authorization header.

A ticket is 256 random bits, kept only as its hash, bound to a user and a purpose, valid for 30 s and taken, not read: the
second use finds nothing. A token in a URL would land in logs and histories (reliability.md §3 row 20).
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import secrets
from dataclasses import asdict, dataclass
from typing import Any

import orjson

from vasset.domain.ports import Cache
from vasset.domain.user import Identity, Role

TICKET_SECONDS = 30
FORM = re.compile(r"[A-Za-z0-9_-]{43}\Z")


@dataclass(frozen=True, slots=True)
class Bearer:
    """Whom a ticket stands for. ``expires_at`` is the end of the access token it was bought with, in Unix seconds."""

    user_id: int
    role: int
    session_id: int
    expires_at: float | None = None
    history_id: int | None = None

    @property
    def identity(self) -> Identity:
        return Identity(user_id=self.user_id, role=Role(self.role), session_id=self.session_id)


class Tickets:
    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    async def issue(self, purpose: str, bearer: Bearer, *, ttl_seconds: float = TICKET_SECONDS) -> str:
        """Raises ``DependencyDown``: unlike ``set``, this kind of writing does not pretend, and a ticket nobody kept opens nothing."""
        ticket = secrets.token_urlsafe(32)
        await self._cache.set_if_absent(_key(purpose, ticket), orjson.dumps(asdict(bearer)), ttl_seconds=ttl_seconds)
        return ticket

    async def redeem(self, purpose: str, ticket: str) -> Bearer | None:
        """Whom it stands for, once."""
        return _decode(await self._cache.take(_key(purpose, ticket))) if FORM.match(ticket) else None

    async def look_up(self, purpose: str, ticket: str) -> Bearer | None:
        """Like :meth:`redeem`, for a purpose whose tickets stay valid until they expire."""
        return _decode(await self._cache.get(_key(purpose, ticket))) if FORM.match(ticket) else None


def _key(purpose: str, ticket: str) -> str:
    return f"ticket:{purpose}:{hashlib.sha256(ticket.encode()).hexdigest()}"


def _decode(stored: bytes | None) -> Bearer | None:
    if stored is None:
        return None
    fields: dict[str, Any] = orjson.loads(stored)
    return Bearer(**fields)


def token_end(access_token: str) -> float | None:
    """``exp`` of a token that the authority has verified; None for a form of token without a readable one."""
    try:
        payload = access_token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return float(claims["exp"])
    except (IndexError, KeyError, TypeError, ValueError):
        return None
