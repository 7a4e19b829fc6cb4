"""Any cache, with its reads counted for ``redis_hit_rate``."""

from __future__ import annotations

from collections.abc import Callable

from vasset.domain.ports import Cache


class CountedCache:
    """The port ``Cache``. ``observe(hit=…)`` is told about every ``get``; the other calls are not reads."""

    def __init__(self, cache: Cache, observe: Callable[[bool], None]) -> None:
        self._observe = observe
        self._cache = cache
        self.set = cache.set
        self.set_if_absent = cache.set_if_absent
        self.take = cache.take
        self.delete = cache.delete
        self.increment = cache.increment

    async def get(self, key: str) -> bytes | None:
        value = await self._cache.get(key)
        self._observe(value is not None)
        return value
