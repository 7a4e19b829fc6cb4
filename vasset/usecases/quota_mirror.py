"""``quota:daily:{user_id}:{YYYYMMDD}`` (REQUIREMENTS D3): today's used units, to be read by operators and their tools.

A mirror: SQL alone decides who may download (``adapters/db/quota.py``), so an entry that was lost or is one off refuses and grants
nothing. It is counted up with every accepted download, forgotten where a unit is given back, and written anew from what SQL says.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from datetime import UTC, date, timedelta

from vasset.domain.errors import VAssetError
from vasset.domain.ports import Cache, Clock
from vasset.domain.quota import Quota
from vasset.domain.user import Identity

DAY_SECONDS = 86_400.0


class QuotaMirror:
    """``ask`` answers SQL's numbers; it is asked when an entry is not there to be counted up. No call here ever fails."""

    def __init__(self, cache: Cache, clock: Clock, ask: Callable[[Identity], Awaitable[Quota]] | None = None) -> None:
        self._cache = cache
        self._clock = clock
        self._ask = ask

    async def count(self, identity: Identity) -> None:
        """One more unit was taken."""
        with contextlib.suppress(VAssetError):
            key = self._key(identity.user_id, self._today())
            if await self._cache.increment(key, ttl_seconds=DAY_SECONDS) == 1 and self._ask is not None:
                await self.show(identity.user_id, await self._ask(identity))

    async def show(self, user_id: int, quota: Quota) -> None:
        """SQL was asked: this is what it says."""
        day = (quota.reset_at.astimezone(UTC) - timedelta(microseconds=1)).date()
        with contextlib.suppress(VAssetError):
            await self._cache.set(self._key(user_id, day), b"%d" % quota.daily_used, ttl_seconds=DAY_SECONDS)

    async def forget(self, user_id: int) -> None:
        """A unit may have been given back: the next who asks writes the entry anew."""
        with contextlib.suppress(VAssetError):
            await self._cache.delete(self._key(user_id, self._today()))

    def _today(self) -> date:
        return self._clock.now().astimezone(UTC).date()

    @staticmethod
    def _key(user_id: int, day: date) -> str:
        return f"quota:daily:{user_id}:{day:%Y%m%d}"
