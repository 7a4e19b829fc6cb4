"""The keys the PRD names (4.2) exist, say what SQL says, and decide nothing: losing them changes no answer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime

import pytest

from tests.support.clock import FakeClock
from vasset.adapters.cache.memory import MemoryCache
from vasset.adapters.db.accounts import SqlAccounts
from vasset.adapters.db.database import Database
from vasset.domain.errors import DependencyDown, TokenRevoked
from vasset.domain.ports import Cache
from vasset.domain.quota import Quota
from vasset.domain.user import Identity, Role
from vasset.services.auth.passwords import PasswordHasher
from vasset.services.auth.service import AuthService
from vasset.services.auth.tokens import TokenSigner
from vasset.usecases.quota_mirror import QuotaMirror

GOOD = "correct horse 7"
ME = Identity(7, Role.FREE, 1)


class DownCache:
    """Redis that does not answer, as its adapter tells it: reads and writes are misses, decisions raise."""

    async def get(self, key: str) -> bytes | None:
        return None

    async def set(self, key: str, value: bytes, *, ttl_seconds: float) -> None:
        return

    async def delete(self, key: str) -> None:
        return

    async def take(self, key: str) -> bytes | None:
        raise DependencyDown

    async def increment(self, key: str, *, ttl_seconds: float) -> int:
        raise DependencyDown

    async def set_if_absent(self, key: str, value: bytes, *, ttl_seconds: float) -> bool:
        raise DependencyDown


@pytest.fixture
def hasher() -> Iterator[PasswordHasher]:
    hasher = PasswordHasher(cost=4)
    yield hasher
    hasher.close()


@pytest.fixture
def make(database: Database, clock: FakeClock, hasher: PasswordHasher) -> Callable[[Cache], AuthService]:
    signer = TokenSigner(b"k" * 32, clock=clock)
    return lambda cache: AuthService(SqlAccounts(database), cache, hasher, signer, clock)


def token_key(token: str) -> str:
    return f"auth:token:{hashlib.sha256(token.encode()).hexdigest()}"


async def test_a_living_token_is_shown_for_as_long_as_its_session_lives(
    make: Callable[[Cache], AuthService], clock: FakeClock
) -> None:
    cache = MemoryCache(clock=clock)
    authority = make(cache)
    user, first = await authority.register("a@example.org", GOOD, "A")
    me = await authority.verify(first.access_token)
    shown = await cache.get(token_key(first.access_token))
    assert shown is not None
    assert json.loads(shown) == {"user_id": user.id, "session_id": me.session_id}
    second = await authority.refresh(first.refresh_token)
    assert await cache.get(token_key(first.access_token)) is None, "a session has one token"
    assert await cache.get(token_key(second.access_token)) is not None
    _, other = await authority.login("a@example.org", GOOD)
    await authority.change_password(await authority.verify(other.access_token), GOOD, "another horse 8")
    assert await cache.get(token_key(second.access_token)) is None
    assert await cache.get(token_key(other.access_token)) is not None
    await authority.logout(await authority.verify(other.access_token))
    assert await cache.get(token_key(other.access_token)) is None


async def test_an_entry_lives_a_day_as_its_token_does(make: Callable[[Cache], AuthService], clock: FakeClock) -> None:
    cache = MemoryCache(clock=clock)
    _, tokens = await make(cache).register("a@example.org", GOOD, "A")
    clock.advance(86_399)
    assert await cache.get(token_key(tokens.access_token)) is not None
    clock.advance(2)
    assert await cache.get(token_key(tokens.access_token)) is None


async def test_losing_the_mirror_signs_nobody_out_and_a_stale_one_lets_nobody_in(
    make: Callable[[Cache], AuthService], clock: FakeClock
) -> None:
    cache = MemoryCache(clock=clock)
    authority = make(cache)
    _, tokens = await authority.register("a@example.org", GOOD, "A")
    entry = await cache.take(token_key(tokens.access_token))
    me = await authority.verify(tokens.access_token)
    await authority.logout(me)
    await cache.set(token_key(tokens.access_token), entry or b"", ttl_seconds=60)
    with pytest.raises(TokenRevoked):
        await authority.verify(tokens.access_token)


async def test_without_redis_people_sign_in_and_out(make: Callable[[Cache], AuthService]) -> None:
    authority = make(DownCache())
    _, tokens = await authority.register("a@example.org", GOOD, "A")
    me = await authority.verify((await authority.refresh(tokens.refresh_token)).access_token)
    await authority.logout(me)


def asked_of(used: list[int], clock: FakeClock) -> Callable[[Identity], Awaitable[Quota]]:
    async def ask(identity: Identity) -> Quota:
        return Quota(50, used[0], datetime.combine(clock.now().date(), datetime.max.time(), UTC))

    return ask


async def test_the_daily_counter_follows_sql_and_is_rebuilt_from_it(clock: FakeClock) -> None:
    cache, used = MemoryCache(clock=clock), [3]
    mirror = QuotaMirror(cache, clock, asked_of(used, clock))
    key = f"quota:daily:7:{clock.now():%Y%m%d}"
    await mirror.count(ME)  # lost, or the first of the day: SQL says which
    assert await cache.get(key) == b"3"
    await mirror.count(ME)
    assert await cache.get(key) == b"4"
    await mirror.forget(7)
    assert await cache.get(key) is None
    used[0] = 2
    await mirror.count(ME)
    assert await cache.get(key) == b"2"


async def test_without_redis_nothing_is_refused_for_the_counters_sake(clock: FakeClock) -> None:
    mirror = QuotaMirror(DownCache(), clock, asked_of([1], clock))
    await mirror.count(ME)
    await mirror.forget(7)
