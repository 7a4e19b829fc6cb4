"""A cache inside one process."""

from __future__ import annotations

from collections import OrderedDict
from time import monotonic

from vasset.domain.ports import Clock

BULK = "parser:"
"""What hostile pages choose the size of. It has a shelf of its own: filling it must not push out a counter or a ticket."""


class MemoryCache:
    """The port ``Cache``. Two shelves, each bounded in bytes: on each the entry unused for longest goes first.

    An entry larger than an eighth of its shelf is not kept at all.
    """

    def __init__(
        self, *, max_bytes: int = 32 * 2**20, counters_max_bytes: int = 16 * 2**20, clock: Clock | None = None
    ) -> None:
        self._monotonic = clock.monotonic if clock else monotonic
        self._bulk = _Shelf(max_bytes)
        self._counters = _Shelf(counters_max_bytes)

    def clear(self) -> None:
        """Lose everything, as a restart does."""
        for shelf in (self._bulk, self._counters):
            shelf.clear()

    async def get(self, key: str) -> bytes | None:
        entry = self._alive(key)
        if entry is None:
            return None
        self._shelf(key).entries.move_to_end(key)
        return entry[1]

    async def set(self, key: str, value: bytes, *, ttl_seconds: float) -> None:
        self._store(key, value, self._monotonic() + ttl_seconds)

    async def set_if_absent(self, key: str, value: bytes, *, ttl_seconds: float) -> bool:
        if self._alive(key) is not None:
            return False
        self._store(key, value, self._monotonic() + ttl_seconds)
        return True

    async def take(self, key: str) -> bytes | None:
        entry = self._alive(key)
        self._remove(key)
        return None if entry is None else entry[1]

    async def delete(self, key: str) -> None:
        self._remove(key)

    async def increment(self, key: str, *, ttl_seconds: float) -> int:
        """The time to live starts with the first increment and is not prolonged by later ones."""
        entry = self._alive(key)
        if entry is None:
            self._store(key, b"1", self._monotonic() + ttl_seconds)
            return 1
        count = int(entry[1]) + 1
        self._store(key, str(count).encode(), entry[0])
        return count

    def _shelf(self, key: str) -> _Shelf:
        return self._bulk if key.startswith(BULK) else self._counters

    def _alive(self, key: str) -> tuple[float, bytes] | None:
        shelf = self._shelf(key)
        entry = shelf.entries.get(key)
        if entry is not None and entry[0] <= self._monotonic():
            shelf.remove(key)
            return None
        return entry

    def _store(self, key: str, value: bytes, expires_at: float) -> None:
        self._shelf(key).store(key, value, expires_at)

    def _remove(self, key: str) -> None:
        self._shelf(key).remove(key)


class _Shelf:
    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self.entries: OrderedDict[str, tuple[float, bytes]] = OrderedDict()

    def store(self, key: str, value: bytes, expires_at: float) -> None:
        self.remove(key)
        if _size(key, value) > self._max_bytes // 8:
            return
        self.entries[key] = (expires_at, value)
        self._bytes += _size(key, value)
        while self._bytes > self._max_bytes:
            self.remove(next(iter(self.entries)))

    def remove(self, key: str) -> None:
        entry = self.entries.pop(key, None)
        if entry is not None:
            self._bytes -= _size(key, entry[1])

    def clear(self) -> None:
        self.entries.clear()
        self._bytes = 0


def _size(key: str, value: bytes) -> int:
    return len(key) + len(value) + 200  # the dictionary's own cost, roughly
