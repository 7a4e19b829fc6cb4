"""Guessing slowed per account, per address and per network, without locking the owner out.

Three counters, each of the last minute:

* attempts for one account from one address, counted before the hash is computed, so that parallel guesses count too; success forgets them;
* failures of one address (an IPv4 address or a /64) for whatever accounts: one password tried on many;
* failures for one account from wherever: many addresses on one account.

The last two never refuse an address from which this account has signed in before, which is the owner's. Beyond the third a strange
address still has two attempts a minute, so an owner who travels is slowed and not shut out.
"""

from __future__ import annotations

import contextlib
import hashlib

from vasset.domain.errors import TooManyRequests, Unavailable
from vasset.domain.network import network_of
from vasset.domain.ports import Cache

WINDOW_SECONDS = 60.0
KNOWN_SECONDS = 30 * 86_400.0
ADDRESS_FACTOR = 6
ACCOUNT_FACTOR = 5
STRANGERS_ATTEMPTS = 2


class LoginThrottle:
    """Without its cache it lets everybody pass: the bounded hash pool still limits the rate, and nobody is locked out."""

    def __init__(self, cache: Cache, *, attempts_per_minute: int) -> None:
        self._cache = cache
        self._limit = attempts_per_minute

    async def count(self, account: str, address: str | None) -> None:
        """Raises ``TooManyRequests`` when there were too many within the minute."""
        with contextlib.suppress(Unavailable):
            attempts = await self._cache.increment(
                _key("pair", account, network_of(address or "")), ttl_seconds=WINDOW_SECONDS
            )
            if attempts > self._limit:
                _refuse("this account from this address")
            if await self._cache.get(_key("known", account, network_of(address or ""))) is not None:
                return
            if (
                address is not None
                and await self._failures("address", network_of(address or "")) >= self._limit * ADDRESS_FACTOR
            ):
                _refuse("this address")
            under_attack = await self._failures("account", account) >= self._limit * ACCOUNT_FACTOR
            if under_attack and attempts > STRANGERS_ATTEMPTS:
                _refuse("this account")

    async def failed(self, account: str, address: str | None) -> None:
        with contextlib.suppress(Unavailable):
            await self._cache.increment(_key("account", account), ttl_seconds=WINDOW_SECONDS)
            if address is not None:
                await self._cache.increment(_key("address", network_of(address or "")), ttl_seconds=WINDOW_SECONDS)

    async def forget(self, account: str, address: str | None) -> None:
        """It was the owner: this address is theirs from now on."""
        with contextlib.suppress(Unavailable):
            await self._cache.delete(_key("pair", account, network_of(address or "")))
            await self._cache.set(_key("known", account, network_of(address or "")), b"1", ttl_seconds=KNOWN_SECONDS)

    async def _failures(self, *what: str) -> int:
        return int(await self._cache.get(_key(*what)) or 0)


def _refuse(what: str) -> None:
    raise TooManyRequests(f"too many failed sign-ins for {what}; wait a minute", retry_after_seconds=WINDOW_SECONDS)


def _key(*parts: str) -> str:
    return f"auth:attempts:{hashlib.sha256(chr(10).join(parts).encode()).hexdigest()}"
