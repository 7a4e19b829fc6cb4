"""The port ``AccountStore``, sessions: one row a session, whose ``token_hash`` is the only refresh token that still counts.

Rotation is one conditional UPDATE, so of many parallel ones exactly one wins. The losers find the token among the spent ones: within
the grace time, and while its child is still the head, they get the same child; else somebody replays a stolen token and the session
ends. A child that was used already is never handed out again, however short the time (django-oauth-toolkit #1617).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import bindparam, insert, select, update

from vasset.adapters.db.database import Database, Transaction
from vasset.adapters.db.tables import spent_tokens, user_sessions, users
from vasset.domain.errors import TokenExpired, TokenRevoked, Unauthenticated
from vasset.domain.ports import Rotation, SessionState
from vasset.domain.user import Role, SessionInfo

# Built once: SQLAlchemy takes longer to put a statement together than SQLite to run it.
_SESSION = (
    select(user_sessions.c.user_id, user_sessions.c.expires_at, user_sessions.c.revoked_at, users.c.role)
    .join(users, users.c.id == user_sessions.c.user_id)
    .where(user_sessions.c.id == bindparam("wanted"))
)


class SqlSessions:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def open_session(self, user_id: int, token_hash: bytes, *, ttl_seconds: int, user_agent: str | None) -> int:
        async with self._database.write() as transaction:
            opened = await transaction.execute(
                insert(user_sessions)
                .values(
                    user_id=user_id,
                    token_hash=token_hash,
                    created_at=transaction.now,
                    expires_at=transaction.now + timedelta(seconds=ttl_seconds),
                    user_agent=user_agent[:256] if user_agent else None,
                )
                .returning(user_sessions.c.id)
            )
            return int(opened.scalar_one())

    async def rotate(
        self, token_hash: bytes, *, child_hash: bytes, nonce: bytes, ttl_seconds: int, grace_seconds: float
    ) -> Rotation:
        async with self._database.write() as transaction:
            rotation = await self._advance(transaction, token_hash, child_hash, nonce, ttl_seconds)
            if rotation is None:
                rotation = await self._repeat(transaction, token_hash, grace_seconds)
        # Outside the transaction: ending the stolen session must be committed, not rolled back with the error.
        if rotation is None:
            raise TokenRevoked("this refresh token was used before, so its session was ended; sign in again")
        return rotation

    async def session(self, session_id: int) -> SessionState | None:
        async with self._database.glance() as transaction:
            row = (await transaction.execute(_SESSION, {"wanted": session_id})).one_or_none()
        if row is None:
            return None
        return SessionState(row.user_id, Role(row.role), row.revoked_at is None and row.expires_at > transaction.now)

    async def sessions(self, user_id: int) -> Sequence[SessionInfo]:
        async with self._database.glance() as transaction:
            alive = (
                select(user_sessions)
                .where(
                    user_sessions.c.user_id == user_id,
                    user_sessions.c.revoked_at.is_(None),
                    user_sessions.c.expires_at > transaction.now,
                )
                .order_by(user_sessions.c.id.desc())
            )
            rows = (await transaction.execute(alive)).all()
        return [SessionInfo(row.id, row.created_at, row.expires_at, row.user_agent) for row in rows]

    async def alive(self, session_ids: Collection[int]) -> frozenset[int]:
        async with self._database.glance() as transaction:
            alive = select(user_sessions.c.id).where(
                user_sessions.c.id.in_(session_ids),
                user_sessions.c.revoked_at.is_(None),
                user_sessions.c.expires_at > transaction.now,
            )
            return frozenset((await transaction.execute(alive)).scalars())

    async def end_session(self, user_id: int, session_id: int) -> bool:
        async with self._database.write() as transaction:
            mine = (user_sessions.c.id == session_id) & (user_sessions.c.user_id == user_id)
            if (await transaction.execute(select(user_sessions.c.id).where(mine))).one_or_none() is None:
                return False
            await _end(transaction, session_id)
            return True

    async def _advance(
        self, transaction: Transaction, token_hash: bytes, child_hash: bytes, nonce: bytes, ttl_seconds: int
    ) -> Rotation | None:
        now = transaction.now
        advanced = await transaction.execute(
            update(user_sessions)
            .where(
                user_sessions.c.token_hash == token_hash,
                user_sessions.c.revoked_at.is_(None),
                user_sessions.c.expires_at > now,
            )
            .values(token_hash=child_hash, expires_at=now + timedelta(seconds=ttl_seconds))
            .returning(user_sessions.c.id)
        )
        session_id = advanced.scalar_one_or_none()
        if session_id is None:
            return None
        await transaction.execute(
            insert(spent_tokens).values(
                token_hash=token_hash, session_id=session_id, child_hash=child_hash, nonce=nonce, spent_at=now
            )
        )
        row = await _with_role(transaction, session_id)
        return Rotation(row.id, row.user_id, Role(row.role))

    async def _repeat(self, transaction: Transaction, token_hash: bytes, grace_seconds: float) -> Rotation | None:
        """The earlier rotation, or None after ending a session whose spent token came back."""
        spent = (
            await transaction.execute(select(spent_tokens).where(spent_tokens.c.token_hash == token_hash))
        ).one_or_none()
        if spent is None:
            await self._refuse_dead_head(transaction, token_hash)
        row = await _with_role(transaction, spent.session_id)
        if row.revoked_at is not None:
            raise TokenRevoked()
        in_grace = transaction.now - spent.spent_at <= timedelta(seconds=grace_seconds)
        if in_grace and row.token_hash == spent.child_hash:
            return Rotation(row.id, row.user_id, Role(row.role), repeated_nonce=spent.nonce)
        await _end(transaction, row.id)
        return None

    async def _refuse_dead_head(self, transaction: Transaction, token_hash: bytes) -> None:
        head = select(user_sessions).where(user_sessions.c.token_hash == token_hash)
        row = (await transaction.execute(head)).one_or_none()
        if row is None:
            raise Unauthenticated("this refresh token is not known; sign in again")
        if row.revoked_at is not None:
            raise TokenRevoked()
        raise TokenExpired("the session has expired; sign in again")


async def _with_role(transaction: Transaction, session_id: int) -> Any:
    statement = (
        select(user_sessions, users.c.role)
        .join(users, users.c.id == user_sessions.c.user_id)
        .where(user_sessions.c.id == session_id)
        .with_for_update(of=user_sessions)
    )
    return (await transaction.execute(statement)).one()


async def _end(transaction: Transaction, session_id: int) -> None:
    await transaction.execute(
        update(user_sessions)
        .where(user_sessions.c.id == session_id, user_sessions.c.revoked_at.is_(None))
        .values(revoked_at=transaction.now)
    )
