"""Follow one user's downloads: a snapshot first, then frames whose ``seq`` rises; no terminal frame is ever missed.

The bus is lossy by contract (Redis Pub/Sub is at-most-once), so a task that has fallen silent is looked up in SQL; that
poll costs one indexed query per watcher and only while the watcher has unfinished, silent tasks.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from vasset.domain.download import Task, TaskStatus
from vasset.domain.errors import NotFound, Unavailable
from vasset.domain.ports import ProgressBus, TaskStore
from vasset.domain.progress import SEQ_PER_FENCE, ProgressFrame
from vasset.usecases.track_progress import frame_of

UNFINISHED = (TaskStatus.QUEUED, TaskStatus.RUNNING, TaskStatus.RETRY, TaskStatus.PAUSED)
SNAPSHOT_LIMIT = 100


def newest(task: Task, live: ProgressFrame | None) -> ProgressFrame:
    """The row decides what a task is; a live frame of the same execution adds the numbers."""
    row = frame_of(task)
    if live is None or live.user_id != task.user_id:
        return row
    if task.status is TaskStatus.RUNNING:
        return live if not live.is_terminal and live.seq >= row.seq else row
    if live.phase is row.phase and live.seq // SEQ_PER_FENCE == task.fence:
        return live
    return row


class WatchProgress:
    def __init__(self, store: TaskStore, bus: ProgressBus, *, poll_seconds: float = 2.0) -> None:
        self._store = store
        self._bus = bus
        self._poll_seconds = poll_seconds

    async def current(self, tasks: Sequence[Task]) -> list[ProgressFrame]:
        """One frame per given task, in order: what polling answers, with the numbers the WebSocket shows."""
        try:
            live = await self._bus.latest([task.id for task in tasks]) if tasks else {}
        except Unavailable:
            live = {}  # the bus is disposable: rows are the truth
        return [newest(task, live.get(task.id)) for task in tasks]

    @asynccontextmanager
    async def watch(
        self, user_id: int, task_ids: Sequence[str] | None = None
    ) -> AsyncIterator[AsyncIterator[list[ProgressFrame]]]:
        """Batches of frames; the first batch is the snapshot (possibly empty). Subscribing comes before reading rows.

        ``task_ids`` None means all of the user's tasks. Unknown tasks and those of others are silently left out.
        """
        async with self._bus.subscribe(task_ids) as frames:
            yield self._batches(user_id, task_ids, frames)

    async def _batches(
        self, user_id: int, task_ids: Sequence[str] | None, frames: AsyncIterator[ProgressFrame]
    ) -> AsyncIterator[list[ProgressFrame]]:
        now = asyncio.get_running_loop().time
        seen: dict[str, int] = {}
        heard_at: dict[str, float] = {}  # unfinished tasks only

        def fresh(frame: ProgressFrame) -> bool:
            if frame.user_id != user_id or frame.seq <= seen.get(frame.task_id, -1):
                return False
            seen[frame.task_id] = frame.seq
            heard_at[frame.task_id] = now()
            if frame.is_terminal:
                del heard_at[frame.task_id]
            return True

        snapshot = await self.current(await self._rows(user_id, task_ids))
        yield [frame for frame in snapshot if fresh(frame)]
        poll_at = now() + self._poll_seconds
        following: asyncio.Future[ProgressFrame | None] | None = None
        try:
            while True:
                following = following or asyncio.ensure_future(_next(frames))
                await asyncio.wait({following}, timeout=max(0.0, poll_at - now()))
                if following.done():
                    frame, following = following.result(), None
                    if frame is None:
                        return
                    if fresh(frame):
                        yield [frame]
                if now() >= poll_at:
                    silent = [task_id for task_id, at in heard_at.items() if now() - at >= self._poll_seconds]
                    if batch := [frame for frame in await self._missed(user_id, silent) if fresh(frame)]:
                        yield batch
                    poll_at = now() + self._poll_seconds
        finally:
            if following is not None:
                following.cancel()
                with contextlib.suppress(asyncio.CancelledError, Unavailable):
                    await following

    async def _missed(self, user_id: int, silent: Sequence[str]) -> list[ProgressFrame]:
        try:
            return await self.current(await self._rows(user_id, silent))
        except Unavailable:
            return []  # asked again at the next poll

    async def _rows(self, user_id: int, task_ids: Sequence[str] | None) -> list[Task]:
        if task_ids is None:
            page = await self._store.page(user_id, statuses=UNFINISHED, page=1, per_page=SNAPSHOT_LIMIT)
            return list(page.items)
        tasks = []
        for task_id in task_ids[:SNAPSHOT_LIMIT]:
            with contextlib.suppress(NotFound):
                tasks.append(await self._store.get(task_id, user_id=user_id))
        return tasks


async def _next(frames: AsyncIterator[ProgressFrame]) -> ProgressFrame | None:
    return await anext(frames, None)
