"""How often one caller may ask, counted in the shared cache by the minute.

A fixed window over ``Cache.increment``: one operation a request, shared by all gateways that share a cache. The ``limits`` package
was tried first: its memory storage starts a task and walks every key at each hit, and needs a second Redis connection.
When the cache is down the process counts alone: limits get looser by the number of gateways, requests go on (P26).
"""

from __future__ import annotations

from dataclasses import dataclass

from vasset.domain.errors import TooManyRequests, Unavailable
from vasset.domain.ports import Cache, Clock

WINDOW_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Allowance:
    """What the ``RateLimit-*`` headers say."""

    limit: int
    remaining: int
    reset_seconds: int

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        return [
            (b"ratelimit-limit", b"%d" % self.limit),
            (b"ratelimit-remaining", b"%d" % self.remaining),
            (b"ratelimit-reset", b"%d" % self.reset_seconds),
        ]


class RateLimiter:
    def __init__(self, cache: Cache, clock: Clock) -> None:
        self._cache = cache
        self._clock = clock
        self._alone: dict[str, int] = {}
        self._alone_window = 0

    async def hit(self, what: str, who: str, limit: int) -> Allowance:
        """Count one request. The caller decides by :func:`refuse_if_spent`, so that a refusal carries its headers too."""
        now = int(self._clock.now().timestamp())
        window = now // WINDOW_SECONDS
        key = f"rate:{what}:{who}:{window}"
        try:
            count = await self._cache.increment(key, ttl_seconds=WINDOW_SECONDS + 5)
        except Unavailable:
            count = self._count_alone(key, window)
        return Allowance(limit, limit - count, (window + 1) * WINDOW_SECONDS - now)

    def _count_alone(self, key: str, window: int) -> int:
        if window != self._alone_window:
            self._alone, self._alone_window = {}, window
        self._alone[key] = self._alone.get(key, 0) + 1
        return self._alone[key]


def refuse_if_spent(allowance: Allowance, what: str) -> Allowance:
    """Raise ``TooManyRequests`` when the count has passed the limit; ``remaining`` is never told below zero."""
    if allowance.remaining < 0:
        raise TooManyRequests(
            f"More than {allowance.limit} {what} in a minute; wait {allowance.reset_seconds} s.",
            retry_after_seconds=float(allowance.reset_seconds),
        )
    return allowance
