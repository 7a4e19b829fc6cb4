"""Accounts and sessions in SQL, and the authority over them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from vasset.domain.user import Identity, Role, SessionInfo, TokenPair, User

MAX_ASKED = 500


@dataclass(frozen=True, slots=True)
class Account:
    """A user and the hash that proves them."""

    user: User
    password_hash: str


@dataclass(frozen=True, slots=True)
class SessionState:
    """What a token's session is worth now."""

    user_id: int
    role: Role
    alive: bool


@dataclass(frozen=True, slots=True)
class Rotation:
    """One refresh token turned into its child. ``repeated_nonce`` is set when that had happened before, within the grace time."""

    session_id: int
    user_id: int
    role: Role
    repeated_nonce: bytes | None = None


class AccountStore(Protocol):
    """The auth service's own tables. Tokens arrive hashed (32 bytes); nothing here could sign anybody in."""

    async def create(
        self,
        email: str,
        password_hash: str,
        nickname: str,
        *,
        registration: Literal["open", "invite", "closed"],
        invitation_hash: bytes | None,
    ) -> User:
        """The first account ever becomes administrator under any ``registration``, exactly once.

        Raises ``EmailTaken`` or ``RegistrationClosed``.
        """
        ...

    async def find(self, email: str) -> Account | None: ...

    async def account(self, user_id: int) -> Account | None: ...

    async def set_password(self, user_id: int, password_hash: str, *, keep_session: int) -> None:
        """Ends every other session of the user in the same transaction."""
        ...

    async def set_role(self, user_id: int, role: Role) -> User:
        """Raises ``NotFound``, or ``Conflict`` when no administrator would be left."""
        ...

    async def open_session(
        self, user_id: int, token_hash: bytes, *, ttl_seconds: int, user_agent: str | None
    ) -> int: ...

    async def rotate(
        self, token_hash: bytes, *, child_hash: bytes, nonce: bytes, ttl_seconds: int, grace_seconds: float
    ) -> Rotation:
        """Spend a refresh token. Raises ``TokenRevoked`` (and ends the session) when it was spent before, ``TokenExpired``."""
        ...

    async def session(self, session_id: int) -> SessionState | None: ...

    async def sessions(self, user_id: int) -> Sequence[SessionInfo]: ...

    async def alive(self, session_ids: Collection[int]) -> frozenset[int]:
        """Those of the sessions that were neither ended nor have expired."""
        ...

    async def end_session(self, user_id: int, session_id: int) -> bool:
        """False when the user has no such session."""
        ...

    async def add_invitation(self, created_by: int, token_hash: bytes, *, ttl_seconds: int) -> None: ...


class Authority(Protocol):
    """Auth service: the authority on accounts and sessions."""

    async def register(
        self, email: str, password: str, nickname: str, *, invitation: str | None = None, user_agent: str | None = None
    ) -> tuple[User, TokenPair]: ...

    async def login(
        self, email: str, password: str, *, address: str | None = None, user_agent: str | None = None
    ) -> tuple[User, TokenPair]: ...

    async def refresh(self, refresh_token: str) -> TokenPair: ...

    async def logout(self, identity: Identity) -> None: ...

    async def verify(self, access_token: str) -> Identity:
        """Signature, claims, session alive. Raises a subclass of ``Unauthenticated``."""
        ...

    async def profile(self, identity: Identity) -> User: ...

    async def change_password(self, identity: Identity, current: str, new: str) -> None: ...

    async def sessions(self, identity: Identity) -> Sequence[SessionInfo]: ...

    async def alive(self, session_ids: Collection[int]) -> frozenset[int]:
        """Those of at most ``MAX_ASKED`` sessions that were neither ended nor have expired. Raises ``InvalidInput`` for more."""
        ...

    async def revoke_session(self, identity: Identity, session_id: int) -> None: ...

    async def set_role(self, identity: Identity, user_id: int, role: Role) -> User: ...

    async def invite(self, identity: Identity) -> str: ...
