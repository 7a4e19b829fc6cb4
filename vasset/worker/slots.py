"""A bound on how many may do something at a time, first come first served, that can change while it is held."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Slots:
    """Shrinking never interrupts holders: the bound is reached as they leave."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._in_use = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def size(self) -> int:
        return self._size

    @property
    def in_use(self) -> int:
        return self._in_use

    @property
    def free(self) -> int:
        return max(0, self._size - self._in_use)

    def resize(self, size: int) -> None:
        if size < 0:
            raise ValueError(f"slots cannot be resized to {size}: the smallest size is 0")
        self._size = size
        self._admit()

    async def acquire(self) -> None:
        if self._in_use < self._size and not self._waiting:
            self._in_use += 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.release()  # the slot was handed over in the moment of giving up
            else:
                self._waiting.remove(turn)
            raise

    def release(self) -> None:
        self._in_use -= 1
        self._admit()

    @asynccontextmanager
    async def hold(self) -> AsyncIterator[None]:
        await self.acquire()
        try:
            yield
        finally:
            self.release()

    def _admit(self) -> None:
        while self._waiting and self._in_use < self._size:
            turn = self._waiting.popleft()
            if not turn.done():
                self._in_use += 1
                turn.set_result(None)
