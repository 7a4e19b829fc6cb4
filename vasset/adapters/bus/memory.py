"""Progress frames inside one process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from time import monotonic

from vasset.domain.ports import Clock
from vasset.domain.progress import ProgressFrame

LATEST_SECONDS = 120.0  # the contract asks for a minute after the terminal frame


class MemoryBus:
    """The port ``ProgressBus``. A reader holds one frame a task, the newest: its memory is bounded by the tasks it watches."""

    def __init__(self, *, clock: Clock | None = None) -> None:
        self._monotonic = clock.monotonic if clock else monotonic
        self._latest: dict[str, tuple[float, ProgressFrame]] = {}  # oldest publication first
        self._mailboxes: set[_Mailbox] = set()

    async def publish(self, frames: Sequence[ProgressFrame]) -> None:
        now = self._monotonic()
        for frame in frames:
            known = self._latest.pop(frame.task_id, None)
            if known is not None and known[1].seq > frame.seq:
                self._latest[frame.task_id] = known  # a stale worker's frame: the fence in ``seq`` decides
                continue
            self._latest[frame.task_id] = (now, frame)
            for mailbox in self._mailboxes:
                mailbox.put(frame)
        self._forget(now)

    async def latest(self, task_ids: Sequence[str]) -> Mapping[str, ProgressFrame]:
        self._forget(self._monotonic())
        return {task_id: self._latest[task_id][1] for task_id in task_ids if task_id in self._latest}

    @asynccontextmanager
    async def subscribe(self, task_ids: Sequence[str] | None = None) -> AsyncIterator[AsyncIterator[ProgressFrame]]:
        mailbox = _Mailbox(None if task_ids is None else frozenset(task_ids))
        self._mailboxes.add(mailbox)
        stream = mailbox.stream()
        try:
            yield stream
        finally:
            self._mailboxes.discard(mailbox)
            await stream.aclose()

    def _forget(self, now: float) -> None:
        while self._latest:
            task_id, (published, _) = next(iter(self._latest.items()))
            if now - published < LATEST_SECONDS:
                return
            del self._latest[task_id]


class _Mailbox:
    """The newest undelivered frame of each task, in the order the tasks first became due."""

    def __init__(self, wanted: Collection[str] | None) -> None:
        self._wanted = wanted
        self._undelivered: dict[str, ProgressFrame] = {}
        self._filled = asyncio.Event()

    def put(self, frame: ProgressFrame) -> None:
        if self._wanted is None or frame.task_id in self._wanted:
            self._undelivered[frame.task_id] = frame
            self._filled.set()

    async def stream(self) -> AsyncGenerator[ProgressFrame, None]:
        while True:
            await self._filled.wait()
            task_id = next(iter(self._undelivered))
            frame = self._undelivered.pop(task_id)
            if not self._undelivered:
                self._filled.clear()
            yield frame
