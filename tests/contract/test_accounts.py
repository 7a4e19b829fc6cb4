"""Accounts, sessions and rotation keep their promises on both databases (reliability.md P20-P22)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import jwt
import pytest
from sqlalchemy import select

from tests.support.clock import FakeClock
from tests.support.service_ends import ENDS, TOKEN, behind_grpc
from vasset.adapters.cache.memory import MemoryCache
from vasset.adapters.db.accounts import SqlAccounts
from vasset.adapters.db.database import Database
from vasset.adapters.db.tables import metadata
from vasset.domain.errors import (
    Conflict,
    DependencyDown,
    EmailTaken,
    Forbidden,
    InvalidCredentials,
    InvalidInput,
    NotFound,
    RegistrationClosed,
    TokenExpired,
    TokenRevoked,
    TooManyRequests,
    Unauthenticated,
)
from vasset.domain.ports import Authority, SessionState
from vasset.domain.user import Identity, Role, TokenPair, User
from vasset.services.auth import client
from vasset.services.auth.passwords import PasswordHasher
from vasset.services.auth.service import AuthPolicy, AuthService
from vasset.services.auth.servicer import AuthServicer
from vasset.services.auth.tokens import TokenSigner
from vasset.services.proto import auth_pb2, auth_pb2_grpc

SECRET = b"thirty-two bytes of signing key!"
GOOD = "correct horse 7"
Make = Callable[..., AuthService]


@pytest.fixture
def hasher() -> Iterator[PasswordHasher]:
    hasher = PasswordHasher(cost=4, waiting=200)
    yield hasher
    hasher.close()


@pytest.fixture
def make(database: Database, clock: FakeClock, hasher: PasswordHasher) -> Make:
    def make(**policy: Any) -> AuthService:
        return AuthService(
            SqlAccounts(database), MemoryCache(clock=clock), hasher, TokenSigner(SECRET, clock=clock), clock,
            AuthPolicy(**policy),
        )  # fmt: skip

    return make


@pytest.fixture(params=ENDS)
async def authority(request: pytest.FixtureRequest, make: Make) -> AsyncIterator[Authority]:
    """The service itself, and its client behind gRPC: one signature, one behaviour."""
    service = make()
    if request.param == "local":
        yield service
        return
    descriptor = auth_pb2.DESCRIPTOR.services_by_name["AuthService"]
    register = auth_pb2_grpc.add_AuthServiceServicer_to_server
    async with behind_grpc(register, AuthServicer(service), descriptor, client.IDEMPOTENT) as channel:
        yield client.AuthClient(channel, TOKEN, timeout_seconds=30)


@pytest.fixture
async def signed_in(authority: Authority) -> tuple[User, TokenPair]:
    """The administrator, who was first."""
    return await authority.register("Admin@Example.org ", GOOD, "Admin")


# --- registration ----------------------------------------------------------------------------------------------------


async def test_of_many_parallel_first_accounts_one_is_administrator(authority: Authority) -> None:
    users = await asyncio.gather(*(authority.register(f"u{n}@example.org", GOOD, "U") for n in range(8)))
    assert sorted(user.role for user, _ in users) == [Role.FREE] * 7 + [Role.ADMIN]


async def test_an_email_is_taken_whatever_its_case(authority: Authority, signed_in: tuple[User, TokenPair]) -> None:
    assert signed_in[0].email == "admin@example.org"
    with pytest.raises(EmailTaken):
        await authority.register("ADMIN@example.org", GOOD, "Other")
    results = await asyncio.gather(
        *(authority.register("same@example.org", GOOD, "S") for _ in range(5)), return_exceptions=True
    )
    assert sum(isinstance(result, EmailTaken) for result in results) == 4


@pytest.mark.parametrize("registration", ["closed", "invite"])
async def test_the_first_account_is_always_allowed_and_others_are_not(make: Make, registration: str) -> None:
    authority = make(registration=registration)
    user, _ = await authority.register("first@example.org", GOOD, "First")
    assert user.role is Role.ADMIN
    with pytest.raises(RegistrationClosed):
        await authority.register("second@example.org", GOOD, "Second")


async def test_an_invitation_admits_one_person_once(make: Make, clock: FakeClock) -> None:
    authority = make(registration="invite")
    _, tokens = await authority.register("first@example.org", GOOD, "First")
    invitation = await authority.invite(await authority.verify(tokens.access_token))
    attempts = (authority.register(f"guest{n}@example.org", GOOD, "Guest", invitation=invitation) for n in range(5))
    results = await asyncio.gather(*attempts, return_exceptions=True)
    assert sum(isinstance(result, RegistrationClosed) for result in results) == 4
    late = await authority.invite(await authority.verify(tokens.access_token))
    clock.advance(8 * 86_400)
    with pytest.raises(RegistrationClosed):
        await authority.register("late@example.org", GOOD, "Late", invitation=late)
    with pytest.raises(InvalidInput):
        await authority.register("forger@example.org", GOOD, "Forger", invitation="vin_short")


@pytest.mark.parametrize(
    "email",
    ["", "a", "a@", "@b.org", "a b@c.org", "a@b..org", "a\n@b.org", "a\0@b.org", "\ud800@b.org", "x" * 400 + "@b.org"],
)
async def test_what_is_no_address_is_refused(authority: Authority, email: str) -> None:
    with pytest.raises(InvalidInput, match="email"):
        await authority.register(email, GOOD, "N")


@pytest.mark.parametrize("nickname", ["", "   ", "x" * 65, "a\0b", "a\nb", "\ud800", "a\u202eb"])
async def test_what_is_no_name_is_refused(authority: Authority, nickname: str) -> None:
    with pytest.raises(InvalidInput, match="nickname"):
        await authority.register("a@b.org", GOOD, nickname)


# --- signing in ------------------------------------------------------------------------------------------------------


async def test_a_wrong_password_and_an_unknown_account_look_alike(
    authority: Authority, signed_in: tuple[User, TokenPair]
) -> None:
    messages = set()
    for email, password in (
        ("admin@example.org", "wrong horse 7"), ("nobody@example.org", GOOD), ("not an email", GOOD),
        ("admin@example.org", "x" * 73), ("admin@example.org", "x" * 2_000), ("admin@example.org", "\ud800"),
        ("admin@example.org", ""), ("admin@example.org", GOOD + "\0"),
    ):  # fmt: skip
        with pytest.raises(InvalidCredentials) as refused:
            await authority.login(email, password, address="10.0.0.1")
        messages.add(refused.value.message)
    assert len(messages) == 1
    user, tokens = await authority.login("ADMIN@example.org", GOOD, address="10.0.0.1")
    assert (await authority.verify(tokens.access_token)).user_id == user.id == signed_in[0].id


async def test_guessing_is_slowed_and_locks_nobody_else_out(
    authority: Authority, signed_in: tuple[User, TokenPair], clock: FakeClock
) -> None:
    guesses = (authority.login("admin@example.org", f"wrong {n}", address="6.6.6.6") for n in range(100))
    results = await asyncio.gather(*guesses, return_exceptions=True)
    assert sum(isinstance(result, InvalidCredentials) for result in results) == 10
    assert sum(isinstance(result, TooManyRequests) for result in results) == 90
    with pytest.raises(TooManyRequests):
        await authority.login("admin@example.org", GOOD, address="6.6.6.6")
    await authority.login("admin@example.org", GOOD, address="10.0.0.1")
    clock.advance(60)
    await authority.login("admin@example.org", GOOD, address="6.6.6.6")


# --- tokens ----------------------------------------------------------------------------------------------------------


def forged(**changes: Any) -> dict[str, Any]:
    claims = {
        "iss": "vasset", "aud": "vasset", "typ": "access", "sub": "1", "sid": 1, "iat": 1772625600, "exp": 1772712000,
        "jti": "x",
    }  # fmt: skip
    return {name: value for name, value in {**claims, **changes}.items() if value is not None}


FORGERIES = {
    "no exp": forged(exp=None), "exp as text": forged(exp="later"), "endless": forged(exp=1e308), "nbf ahead": forged(nbf=1872625600),
    "iat ahead": forged(iat=1872625600), "sub as number": forged(sub=1), "sub as words": forged(sub="1 OR 1=1"),
    "other audience": forged(aud="other"), "no audience": forged(aud=None), "other issuer": forged(iss="other"),
    "refresh type": forged(typ="refresh"), "no type": forged(typ=None), "no session": forged(sid=None), "session as text": forged(sid="1"),
    "true session": forged(sid=True), "no id": forged(jti=None),
}  # fmt: skip


@pytest.mark.parametrize("claims", FORGERIES.values(), ids=FORGERIES.keys())
async def test_a_rightly_signed_token_with_wrong_claims_is_refused(
    authority: Authority, signed_in: tuple[User, TokenPair], claims: dict[str, Any]
) -> None:
    with pytest.raises(Unauthenticated):
        await authority.verify(jwt.encode(claims, SECRET, algorithm="HS256"))


async def test_the_forgeries_differ_from_a_good_token_in_nothing_else(
    authority: Authority, signed_in: tuple[User, TokenPair]
) -> None:
    assert (await authority.verify(jwt.encode(forged(), SECRET, algorithm="HS256"))).user_id == 1


async def test_other_algorithms_keys_and_shapes_are_refused(
    authority: Authority, signed_in: tuple[User, TokenPair]
) -> None:
    good = signed_in[1].access_token
    head, body, signature = good.split(".")
    tokens = [
        jwt.encode(forged(), "", algorithm="none"),
        jwt.encode(forged(), b"another key of thirty-two bytes!", algorithm="HS256"),
        jwt.encode(forged(), SECRET * 2, algorithm="HS512"),
        jwt.encode(forged(), SECRET, algorithm="HS256", headers={"crit": ["unknown"], "unknown": 1}),
        f"{head}.{body}.", f"{head}.{body}", f"{good}.", f"{good}=", f"{head}.{body}.{signature[:-2]}", " " + good, good + "\n",
        "", "a.b.c", "x" * 65_536, good.replace(".", "\u00a0"), signed_in[1].refresh_token,
    ]  # fmt: skip
    for token in tokens:
        with pytest.raises(Unauthenticated):
            await authority.verify(token)
    await authority.verify(good)


async def test_an_access_token_expires(
    authority: Authority, signed_in: tuple[User, TokenPair], clock: FakeClock
) -> None:
    clock.advance(86_400 - 1)
    await authority.verify(signed_in[1].access_token)
    clock.advance(12)
    with pytest.raises(TokenExpired):
        await authority.verify(signed_in[1].access_token)


async def test_access_tokens_do_not_refresh(authority: Authority, signed_in: tuple[User, TokenPair]) -> None:
    for token in (signed_in[1].access_token, "", "vrt_short", "vrt_" + "A" * 43, "\ud800"):
        with pytest.raises(Unauthenticated):
            await authority.refresh(token)


# --- rotation --------------------------------------------------------------------------------------------------------


async def test_of_twenty_parallel_refreshes_one_family_head_remains(
    authority: Authority, signed_in: tuple[User, TokenPair]
) -> None:
    pairs = await asyncio.gather(*(authority.refresh(signed_in[1].refresh_token) for _ in range(20)))
    assert len({pair.refresh_token for pair in pairs}) == 1
    assert pairs[0].refresh_token != signed_in[1].refresh_token
    await authority.refresh(pairs[0].refresh_token)


async def test_within_the_grace_time_a_repeated_parent_gets_the_same_child(
    authority: Authority, signed_in: tuple[User, TokenPair], clock: FakeClock
) -> None:
    child = await authority.refresh(signed_in[1].refresh_token)
    clock.advance(10)
    again = await authority.refresh(signed_in[1].refresh_token)
    assert again.refresh_token == child.refresh_token
    await authority.verify(again.access_token)


async def test_after_the_grace_time_a_repeated_parent_ends_the_session(
    authority: Authority, signed_in: tuple[User, TokenPair], clock: FakeClock
) -> None:
    child = await authority.refresh(signed_in[1].refresh_token)
    clock.advance(10.5)
    for token in (signed_in[1].refresh_token, child.refresh_token):
        with pytest.raises(TokenRevoked):
            await authority.refresh(token)
    with pytest.raises(TokenRevoked):
        await authority.verify(child.access_token)


async def test_a_grandparent_ends_the_session_even_within_the_grace_time(
    authority: Authority, signed_in: tuple[User, TokenPair]
) -> None:
    child = await authority.refresh(signed_in[1].refresh_token)
    grandchild = await authority.refresh(child.refresh_token)
    for token in (signed_in[1].refresh_token, grandchild.refresh_token):
        with pytest.raises(TokenRevoked):
            await authority.refresh(token)


async def test_a_refresh_token_expires_a_week_after_its_last_use(
    authority: Authority, signed_in: tuple[User, TokenPair], clock: FakeClock
) -> None:
    clock.advance(604_799)
    child = await authority.refresh(signed_in[1].refresh_token)
    clock.advance(604_800)
    with pytest.raises(TokenExpired):
        await authority.refresh(child.refresh_token)


async def test_no_token_and_no_password_is_stored(
    authority: Authority, signed_in: tuple[User, TokenPair], database: Database
) -> None:
    child = await authority.refresh(signed_in[1].refresh_token)
    stored = []
    async with database.read() as transaction:
        for table in metadata.sorted_tables:
            stored += [repr(tuple(row)) for row in await transaction.execute(select(table))]
    for secret in (GOOD, signed_in[1].refresh_token, child.refresh_token, child.access_token, child.refresh_token[4:]):
        assert not any(secret in row for row in stored)


# --- revocation ------------------------------------------------------------------------------------------------------


async def identity(authority: Authority, tokens: TokenPair) -> Identity:
    return await authority.verify(tokens.access_token)


async def log_out(authority: Authority, tokens: TokenPair) -> None:
    await authority.logout(await identity(authority, tokens))


async def change_password_elsewhere(authority: Authority, tokens: TokenPair) -> None:
    """From another session of the same account."""
    email = (await authority.profile(await identity(authority, tokens))).email
    _, other = await authority.login(email, GOOD)
    await authority.change_password(await identity(authority, other), GOOD, "another horse 8")


async def revoke(authority: Authority, tokens: TokenPair) -> None:
    me = await identity(authority, tokens)
    await authority.revoke_session(me, me.session_id)


@pytest.mark.parametrize("end", [log_out, change_password_elsewhere, revoke])
async def test_an_ended_session_is_dead_here_at_once_and_everywhere_within_five_seconds(
    make: Make, clock: FakeClock, end: Callable[[AuthService, TokenPair], Awaitable[None]]
) -> None:
    here, elsewhere = make(), make()
    _, tokens = await here.register("a@example.org", GOOD, "A")
    await elsewhere.verify(tokens.access_token)
    await end(here, tokens)
    with pytest.raises(TokenRevoked):
        await here.verify(tokens.access_token)
    clock.advance(5)
    with pytest.raises(TokenRevoked):
        await elsewhere.verify(tokens.access_token)
    with pytest.raises(TokenRevoked):
        await elsewhere.refresh(tokens.refresh_token)


async def test_without_sql_nobody_is_believed_longer_than_five_seconds(
    make: Make, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = make()
    _, tokens = await authority.register("a@example.org", GOOD, "A")
    await authority.verify(tokens.access_token)

    async def down(self: SqlAccounts, session_id: int) -> SessionState | None:
        raise DependencyDown()

    monkeypatch.setattr(SqlAccounts, "session", down)
    clock.advance(4.9)
    await authority.verify(tokens.access_token)
    clock.advance(0.2)
    with pytest.raises(DependencyDown):
        await authority.verify(tokens.access_token)


async def test_changing_the_password_needs_the_old_one_and_a_good_new_one(
    authority: Authority, signed_in: tuple[User, TokenPair]
) -> None:
    me = await identity(authority, signed_in[1])
    with pytest.raises(InvalidCredentials):
        await authority.change_password(me, "wrong horse 7", "another horse 8")
    with pytest.raises(InvalidInput):
        await authority.change_password(me, GOOD, "short1")
    await authority.change_password(me, GOOD, "another horse 8")
    with pytest.raises(InvalidCredentials):
        await authority.login("admin@example.org", GOOD)
    await authority.login("admin@example.org", "another horse 8")


async def test_a_password_change_keeps_its_own_session_and_ends_the_others(
    authority: Authority, signed_in: tuple[User, TokenPair]
) -> None:
    _, here = await authority.login("admin@example.org", GOOD)
    _, elsewhere = await authority.login("admin@example.org", GOOD)
    await authority.change_password(await identity(authority, here), GOOD, "another horse 8")
    await authority.verify((await authority.refresh(here.refresh_token)).access_token)
    for ended in (signed_in[1], elsewhere):
        with pytest.raises(TokenRevoked):
            await authority.verify(ended.access_token)
        with pytest.raises(TokenRevoked):
            await authority.refresh(ended.refresh_token)


@pytest.mark.parametrize(
    ("claim", "value"),
    [("sid", 2**63), ("sid", 2**200), ("sid", 0), ("sid", -1), ("sub", str(2**63)), ("sub", "9" * 5_000)],
)
async def test_a_token_that_names_what_no_database_holds_is_refused(
    authority: Authority, clock: FakeClock, claim: str, value: Any
) -> None:
    """Signed with our own key: whoever has it needs no such trick, but a 500 is never the answer."""
    now = int(clock.now().timestamp())
    claims = {
        "iss": "vasset", "aud": "vasset", "typ": "access", "sub": "1", "sid": 1, "iat": now, "exp": now + 60, "jti": "x",
        claim: value,
    }  # fmt: skip
    with pytest.raises(Unauthenticated):
        await authority.verify(jwt.encode(claims, SECRET, algorithm="HS256"))


@pytest.mark.parametrize("nickname", ["می\u200cخواهم", "👨\u200d👩\u200d👧", "क्\u200dष"])
async def test_joiners_are_letters_of_a_name(authority: Authority, nickname: str) -> None:
    user, _ = await authority.register("joined@example.org", GOOD, nickname)
    assert user.nickname == nickname


async def test_sessions_are_listed_and_another_users_cannot_be_ended(
    authority: Authority, signed_in: tuple[User, TokenPair]
) -> None:
    _, second = await authority.login("admin@example.org", GOOD, user_agent="Firefox")
    me = await identity(authority, second)
    listed = await authority.sessions(me)
    assert [(session.user_agent, session.current) for session in listed] == [("Firefox", True), (None, False)]
    _, stranger = await authority.register("other@example.org", GOOD, "Other")
    for session_id in (me.session_id, 0, 2**70, -1):
        with pytest.raises(NotFound):
            await authority.revoke_session(await identity(authority, stranger), session_id)
    await authority.verify(second.access_token)


async def test_of_many_sessions_those_are_alive_that_neither_ended_nor_expired(
    authority: Authority, signed_in: tuple[User, TokenPair], clock: FakeClock
) -> None:
    first = await identity(authority, signed_in[1])
    clock.advance(600_000)  # of 604,800 s
    second, third = [await identity(authority, (await authority.login("admin@example.org", GOOD))[1]) for _ in range(2)]
    everything = [first.session_id, second.session_id, third.session_id, 10**9, 0, -1, 2**63 - 1]
    assert await authority.alive(everything) == {first.session_id, second.session_id, third.session_id}
    await authority.logout(third)
    assert await authority.alive(everything) == {first.session_id, second.session_id}
    clock.advance(4_801)
    assert await authority.alive(everything) == {second.session_id}
    await authority.change_password(second, GOOD, "another horse 8")
    assert await authority.alive(everything) == {second.session_id}, "a password change keeps the session that makes it"
    assert await authority.alive([]) == frozenset()
    with pytest.raises(InvalidInput, match="at most 500"):
        await authority.alive(range(1, 502))


async def test_roles_are_given_by_administrators_and_one_always_remains(
    authority: Authority, signed_in: tuple[User, TokenPair]
) -> None:
    admin = await identity(authority, signed_in[1])
    user, tokens = await authority.register("other@example.org", GOOD, "Other")
    other = await identity(authority, tokens)
    with pytest.raises(Forbidden):
        await authority.set_role(other, user.id, Role.ADMIN)
    with pytest.raises(Forbidden):
        await authority.invite(other)
    with pytest.raises(Conflict):
        await authority.set_role(admin, admin.user_id, Role.FREE)
    with pytest.raises(NotFound):
        await authority.set_role(admin, 999, Role.FREE)
    await authority.set_role(admin, user.id, Role.ADMIN)
    assert (await identity(authority, tokens)).role is Role.ADMIN
    results = await asyncio.gather(
        authority.set_role(admin, user.id, Role.FREE), authority.set_role(other, admin.user_id, Role.FREE),
        return_exceptions=True,
    )  # fmt: skip
    assert len([result for result in results if isinstance(result, Conflict | Forbidden)]) == 1
