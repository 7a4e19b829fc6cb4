"""The port ``Authority``: accounts, sessions and who a token stands for."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from vasset.domain.errors import (
    Forbidden,
    InvalidCredentials,
    InvalidInput,
    NotFound,
    TokenRevoked,
    Unauthenticated,
)
from vasset.domain.ports import MAX_ASKED, AccountStore, Cache, Clock
from vasset.domain.user import Identity, Role, SessionInfo, TokenPair, User
from vasset.services.auth.passwords import PasswordHasher, check_new_password
from vasset.services.auth.session_cache import SessionCache
from vasset.services.auth.throttle import LoginThrottle
from vasset.services.auth.token_mirror import TokenMirror
from vasset.services.auth.tokens import (
    INVITATION_PREFIX,
    REFRESH_PREFIX,
    TokenSigner,
    child_of,
    hash_of,
    new_nonce,
    new_token,
)
from vasset.telemetry import faultpoint

JOINERS = {0x200C: None, 0x200D: None}  # shape Persian words and families of emoji; Python counts them as not printable
INVITATION_SECONDS = 7 * 86_400

_EMAIL = re.compile(r"[^\s@<>\"(),:;\\\x00-\x20]{1,64}@[^\s@<>\"(),:;\\\x00-\x20.]+(\.[^\s@<>\"(),:;\\\x00-\x20.]+)*\Z")


@dataclass(frozen=True, slots=True)
class AuthPolicy:
    """The operator's numbers (``config.py``)."""

    registration: Literal["open", "invite", "closed"] = "open"
    access_token_seconds: int = 86_400
    refresh_token_seconds: int = 604_800
    refresh_grace_seconds: float = 10.0
    revocation_seconds: float = 5.0
    login_attempts_per_minute: int = 10


class AuthService:
    def __init__(
        self,
        store: AccountStore,
        cache: Cache,
        hasher: PasswordHasher,
        signer: TokenSigner,
        clock: Clock,
        policy: AuthPolicy | None = None,
    ) -> None:
        self._store = store
        self._hasher = hasher
        self._signer = signer
        self._policy = policy or AuthPolicy()
        self._throttle = LoginThrottle(cache, attempts_per_minute=self._policy.login_attempts_per_minute)
        self._mirror = TokenMirror(cache)
        self._sessions = SessionCache(store, clock, max_age_seconds=self._policy.revocation_seconds)

    async def register(
        self, email: str, password: str, nickname: str, *, invitation: str | None = None, user_agent: str | None = None
    ) -> tuple[User, TokenPair]:
        """Raises ``InvalidInput``, ``EmailTaken``, ``RegistrationClosed``, ``TooManyRequests``."""
        address, name = normal_email(email), _nickname(nickname)
        password_hash = await self._hasher.hash(check_new_password(password))
        try:
            invitation_hash = hash_of(invitation) if invitation else None
        except Unauthenticated:
            raise InvalidInput("the invitation is not one of ours; copy it whole") from None
        user = await self._store.create(
            address, password_hash, name, registration=self._policy.registration, invitation_hash=invitation_hash
        )
        return user, await self._sign_in(user, user_agent)

    async def login(
        self, email: str, password: str, *, address: str | None = None, user_agent: str | None = None
    ) -> tuple[User, TokenPair]:
        """Raises ``InvalidCredentials`` alike, and after the same work, for an unknown account and a wrong password."""
        try:
            wanted = normal_email(email)
        except InvalidInput:
            wanted = ""
        await self._throttle.count(wanted, address)
        account = await self._store.find(wanted) if wanted else None
        if not await self._hasher.verify(password, account.password_hash if account else None) or account is None:
            raise InvalidCredentials()
        await self._throttle.forget(wanted, address)
        return account.user, await self._sign_in(account.user, user_agent)

    async def refresh(self, refresh_token: str) -> TokenPair:
        """A new pair; the old refresh token is spent. Raises ``TokenRevoked``, ``TokenExpired``, ``Unauthenticated``."""
        parent, nonce = hash_of(refresh_token), new_nonce()
        child = child_of(refresh_token, nonce)
        rotation = await self._store.rotate(
            parent, child_hash=hash_of(child), nonce=nonce,
            ttl_seconds=self._policy.refresh_token_seconds, grace_seconds=self._policy.refresh_grace_seconds,
        )  # fmt: skip
        faultpoint.reach("K14")
        if rotation.repeated_nonce is not None:
            child = child_of(refresh_token, rotation.repeated_nonce)
        return await self._pair(rotation.user_id, rotation.session_id, child)

    async def logout(self, identity: Identity) -> None:
        self._sessions.forget(identity.session_id)
        await self._store.end_session(identity.user_id, identity.session_id)
        self._sessions.forget(identity.session_id)
        await self._mirror.forget(identity.session_id)

    async def verify(self, access_token: str) -> Identity:
        """The role is SQL's, not the token's: a changed role counts within seconds."""
        claims = self._signer.read(access_token)
        state = await self._sessions.state(claims.session_id)
        if state is None or not state.alive or state.user_id != claims.user_id:
            raise TokenRevoked()
        return Identity(state.user_id, state.role, claims.session_id)

    async def profile(self, identity: Identity) -> User:
        account = await self._store.account(identity.user_id)
        if account is None:
            raise TokenRevoked("this account was deleted")
        return account.user

    async def change_password(self, identity: Identity, current: str, new: str) -> None:
        """Ends every session but this one, which has just shown that it knows the old password."""
        secret = check_new_password(new)
        account = await self._store.account(identity.user_id)
        if not await self._hasher.verify(current, account.password_hash if account else None):
            raise InvalidCredentials("the current password is wrong")
        others = [session.id for session in await self.sessions(identity) if not session.current]
        await self._store.set_password(
            identity.user_id, await self._hasher.hash(secret), keep_session=identity.session_id
        )
        self._sessions.forget_user(identity.user_id)
        for session_id in others:
            await self._mirror.forget(session_id)

    async def sessions(self, identity: Identity) -> Sequence[SessionInfo]:
        found = await self._store.sessions(identity.user_id)
        return [replace(session, current=session.id == identity.session_id) for session in found]

    async def alive(self, session_ids: Collection[int]) -> frozenset[int]:
        """Asked of SQL itself, past the cache: sockets that hang on the answer would wait for both."""
        if len(session_ids) > MAX_ASKED:
            raise InvalidInput(f"ask about at most {MAX_ASKED} sessions at once")
        return await self._store.alive([number for number in session_ids if _is_row_id(number)])

    async def revoke_session(self, identity: Identity, session_id: int) -> None:
        if not _is_row_id(session_id) or not await self._store.end_session(identity.user_id, session_id):
            raise NotFound("there is no such session, or it belongs to somebody else")
        self._sessions.forget(session_id)
        await self._mirror.forget(session_id)

    async def set_role(self, identity: Identity, user_id: int, role: Role) -> User:
        _refuse_unless_admin(identity, "change the role of an account")
        if not _is_row_id(user_id):
            raise NotFound("there is no such account")
        user = await self._store.set_role(user_id, role)
        self._sessions.forget_user(user_id)
        return user

    async def invite(self, identity: Identity) -> str:
        """A token that lets one person register within a week."""
        _refuse_unless_admin(identity, "invite people")
        invitation = new_token(INVITATION_PREFIX)
        await self._store.add_invitation(identity.user_id, hash_of(invitation), ttl_seconds=INVITATION_SECONDS)
        return invitation

    async def _sign_in(self, user: User, user_agent: str | None) -> TokenPair:
        refresh_token = new_token(REFRESH_PREFIX)
        session_id = await self._store.open_session(
            user.id, hash_of(refresh_token), ttl_seconds=self._policy.refresh_token_seconds, user_agent=user_agent
        )
        return await self._pair(user.id, session_id, refresh_token)

    async def _pair(self, user_id: int, session_id: int, refresh_token: str) -> TokenPair:
        policy = self._policy
        access_token = self._signer.sign(user_id, session_id, ttl_seconds=policy.access_token_seconds)
        await self._mirror.show(
            access_token, user_id=user_id, session_id=session_id, ttl_seconds=policy.access_token_seconds
        )
        return TokenPair(access_token, refresh_token, policy.access_token_seconds, policy.refresh_token_seconds)


def normal_email(email: str) -> str:
    """The form an account is known by. Raises ``InvalidInput``."""
    address = email.strip().lower()
    try:
        sendable = len(address.encode()) <= 254
    except UnicodeEncodeError:
        sendable = False
    if not sendable or not _EMAIL.match(address):
        raise InvalidInput("the email is not an address of the form name@example.org")
    return address


def _nickname(nickname: str) -> str:
    name = nickname.strip()
    if not 1 <= len(name) <= 64 or not name.translate(JOINERS).isprintable():
        raise InvalidInput("the nickname needs 1 to 64 printable characters")
    return name


def _is_row_id(number: int) -> bool:
    """Whether a database could hold such an id at all."""
    return 0 < number < 2**63


def _refuse_unless_admin(identity: Identity, what: str) -> None:
    if not identity.is_admin:
        raise Forbidden(f"only administrators may {what}")
