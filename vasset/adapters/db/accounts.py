"""The port ``AccountStore``, accounts and invitations."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Literal

from sqlalchemy import bindparam, func, insert, select, update

from vasset.adapters.db.database import Transaction
from vasset.adapters.db.dialect import insert_if_absent
from vasset.adapters.db.rows import user_from
from vasset.adapters.db.sessions import SqlSessions
from vasset.adapters.db.tables import invitations, milestones, user_sessions, users
from vasset.domain.errors import Conflict, EmailTaken, NotFound, RegistrationClosed
from vasset.domain.ports import Account
from vasset.domain.user import Role, User

# Built once: SQLAlchemy takes longer to put a statement together than SQLite to run it.
_BY_EMAIL = select(users).where(users.c.email == bindparam("wanted"))
_BY_ID = select(users).where(users.c.id == bindparam("wanted"))


class SqlAccounts(SqlSessions):
    async def create(
        self,
        email: str,
        password_hash: str,
        nickname: str,
        *,
        registration: Literal["open", "invite", "closed"],
        invitation_hash: bytes | None,
    ) -> User:
        async with self._database.write() as transaction:
            now = transaction.now
            is_first = await insert_if_absent(transaction, milestones, {"name": "first_account", "at": now})
            if registration == "closed" and not is_first:
                raise RegistrationClosed()
            account = {
                "email": email, "password_hash": password_hash, "nickname": nickname,
                "role": int(Role.ADMIN if is_first else Role.FREE), "created_at": now, "updated_at": now,
            }  # fmt: skip
            if not await insert_if_absent(transaction, users, account):
                raise EmailTaken()
            row = (await transaction.execute(select(users).where(users.c.email == email))).one()
            if registration == "invite" and not is_first:
                await _spend_invitation(transaction, invitation_hash, row.id)
            return user_from(row)

    async def find(self, email: str) -> Account | None:
        return await self._account(_BY_EMAIL, email)

    async def account(self, user_id: int) -> Account | None:
        return await self._account(_BY_ID, user_id)

    async def set_password(self, user_id: int, password_hash: str, *, keep_session: int) -> None:
        async with self._database.write() as transaction:
            await transaction.execute(
                update(users)
                .where(users.c.id == user_id)
                .values(password_hash=password_hash, updated_at=transaction.now)
            )
            await transaction.execute(
                update(user_sessions)
                .where(
                    user_sessions.c.user_id == user_id,
                    user_sessions.c.id != keep_session,
                    user_sessions.c.revoked_at.is_(None),
                )
                .values(revoked_at=transaction.now)
            )

    async def set_role(self, user_id: int, role: Role) -> User:
        async with self._database.write() as transaction:
            # All administrators are locked together, so that two of them cannot demote each other at once.
            await transaction.execute(select(users.c.id).where(users.c.role >= Role.ADMIN).with_for_update())
            changed = await transaction.execute(
                update(users)
                .where(users.c.id == user_id)
                .values(role=int(role), updated_at=transaction.now)
                .returning(users)
            )
            row = changed.one_or_none()
            if row is None:
                raise NotFound("there is no such account")
            left = select(func.count()).select_from(users).where(users.c.role >= int(Role.ADMIN))
            if int((await transaction.execute(left)).scalar_one()) == 0:
                raise Conflict("this is the last administrator; make somebody else one first")
            return user_from(row)

    async def add_invitation(self, created_by: int, token_hash: bytes, *, ttl_seconds: int) -> None:
        async with self._database.write() as transaction:
            await transaction.execute(
                insert(invitations).values(
                    token_hash=token_hash,
                    created_by=created_by,
                    created_at=transaction.now,
                    expires_at=transaction.now + timedelta(seconds=ttl_seconds),
                )
            )

    async def _account(self, which: Any, wanted: str | int) -> Account | None:
        async with self._database.glance() as transaction:
            row = (await transaction.execute(which, {"wanted": wanted})).one_or_none()
        return None if row is None else Account(user_from(row), row.password_hash)


async def _spend_invitation(transaction: Transaction, token_hash: bytes | None, user_id: int) -> None:
    """Used once, by whoever comes first; the loser's account is rolled back with its transaction."""
    if token_hash is None:
        raise RegistrationClosed("registration is by invitation here; ask the administrator for one")
    spent = await transaction.execute(
        update(invitations)
        .where(
            invitations.c.token_hash == token_hash,
            invitations.c.used_at.is_(None),
            invitations.c.expires_at > transaction.now,
        )
        .values(used_at=transaction.now, used_by=user_id)
    )
    if spent.rowcount != 1:
        raise RegistrationClosed("this invitation was used already, has expired or never existed; ask for another one")
