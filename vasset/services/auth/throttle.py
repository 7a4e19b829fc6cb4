"""Guessing slowed per account and address: whoever guesses from elsewhere never locks the owner out."""

from __future__ import annotations

import hashlib

from vasset.domain.errors import TooManyRequests, Unavailable
from vasset.domain.ports import Cache

WINDOW_SECONDS = 60.0


class LoginThrottle:
    """Counts attempts before the hash is computed, so that parallel guesses count too. Success forgets them.

    Without its cache it lets everybody pass: the bounded hash pool still limits the rate, and nobody is locked out.
    """

    def __init__(self, cache: Cache, *, attempts_per_minute: int) -> None:
        self._cache = cache
        self._limit = attempts_per_minute

    async def count(self, email: str, address: str | None) -> None:
        """Raises ``TooManyRequests`` when this pair has failed too often within the minute."""
        try:
            attempts = await self._cache.increment(_key(email, address), ttl_seconds=WINDOW_SECONDS)
        except Unavailable:
            return
        if attempts > self._limit:
            raise TooManyRequests(
                "too many failed sign-ins for this account from this address; wait a minute",
                retry_after_seconds=WINDOW_SECONDS,
            )

    async def forget(self, email: str, address: str | None) -> None:
        try:
            await self._cache.delete(_key(email, address))
        except Unavailable:
            return


def _key(email: str, address: str | None) -> str:
    pair = f"{email}\n{address or ''}".encode()
    return f"auth:attempts:{hashlib.sha256(pair).hexdigest()}"
