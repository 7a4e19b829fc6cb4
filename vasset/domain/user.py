"""Accounts, sessions and who is asking."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum


class Role(IntEnum):
    """Stored as ``users.role``; the user level that decides the daily quota."""

    FREE = 0
    PREMIUM = 10
    ADMIN = 100


@dataclass(frozen=True, slots=True)
class User:
    id: int
    email: str
    nickname: str
    role: Role
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Identity:
    """A verified caller: what every use case is given instead of a token."""

    user_id: int
    role: Role
    session_id: int

    @property
    def is_admin(self) -> bool:
        return self.role >= Role.ADMIN


@dataclass(frozen=True, slots=True)
class TokenPair:
    """Secrets: never logged, never stored but hashed. Lifetimes in seconds."""

    access_token: str
    refresh_token: str
    expires_in: int
    refresh_expires_in: int


@dataclass(frozen=True, slots=True)
class SessionInfo:
    id: int
    created_at: datetime
    expires_at: datetime
    user_agent: str | None = None
    current: bool = False
