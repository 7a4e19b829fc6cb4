"""A cache inside one process."""

from __future__ import annotations

from collections import OrderedDict
from time import monotonic

from vasset.domain.ports import Clock


class MemoryCache:
    """The port ``Cache``. Bounded in bytes: the entry unused for longest goes first."""

    def __init__(self, *, max_bytes: int = 32 * 2**20, clock: Clock | None = None) -> None:
        self._max_bytes = max_bytes
        self._monotonic = clock.monotonic if clock else monotonic
        self._entries: OrderedDict[str, tuple[float, bytes]] = OrderedDict()
        self._bytes = 0

    async def get(self, key: str) -> bytes | None:
        entry = self._alive(key)
        if entry is None:
            return None
        self._entries.move_to_end(key)
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

    def _alive(self, key: str) -> tuple[float, bytes] | None:
        entry = self._entries.get(key)
        if entry is not None and entry[0] <= self._monotonic():
            self._remove(key)
            return None
        return entry

    def _store(self, key: str, value: bytes, expires_at: float) -> None:
        self._remove(key)
        self._entries[key] = (expires_at, value)
        self._bytes += _size(key, value)
        while self._bytes > self._max_bytes:
            self._remove(next(iter(self._entries)))

    def _remove(self, key: str) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._bytes -= _size(key, entry[1])


def _size(key: str, value: bytes) -> int:
    return len(key) + len(value) + 200  # the dictionary's own cost, roughly
