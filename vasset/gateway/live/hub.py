"""The process's one subscription to the progress bus, fanned out to the sockets of each frame's user.

The bus loses frames by contract. So tasks that have fallen silent are looked up in SQL, one query a user: a
terminal state reaches its sockets within two seconds although every message about it was lost (P18).
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Iterable, Sequence

import orjson
import structlog

from vasset.domain.download import Phase, Task
from vasset.domain.errors import LimitReached, NotFound, VAssetError
from vasset.domain.ports import Clock, ProgressBus, TaskStore
from vasset.domain.progress import ProgressFrame
from vasset.gateway.live.watcher import Watcher
from vasset.gateway.shapes import frame_shape
from vasset.usecases.end_tasks import end_tasks
from vasset.usecases.watch_progress import UNFINISHED, WatchProgress

log = structlog.get_logger("vasset.gateway.live")

MAX_SOCKETS_PER_USER = 10
SILENT_SECONDS = 1.5
ROUND_SECONDS = 0.5
WAITING_SECONDS = 5.0
WAITING = frozenset({Phase.QUEUED, Phase.PAUSED})
"""Tasks that may be silent for hours are asked about less often."""
DEAF_SECONDS = 5.0
"""While the bus is away, and once after it is back, tasks nobody here has heard of are looked for this often."""
SNAPSHOT_TASKS = 100
MAX_WATCHED = 200


class TooManySockets(LimitReached):
    """This account has ten open progress connections already; close one."""

    reason = "too_many_sockets"


class ProgressHub:
    """Runs only while somebody listens."""

    def __init__(self, store: TaskStore, bus: ProgressBus, progress: WatchProgress, clock: Clock) -> None:
        self._store = store
        self._bus = bus
        self._progress = progress
        self._clock = clock
        self._watchers: dict[int, set[Watcher]] = {}
        self._running: list[asyncio.Task[None]] = []
        self._subscribed = asyncio.Event()
        self._has_missed = False
        self._encoded: tuple[ProgressFrame | None, str] = (None, "")

    async def join(self, user_id: int) -> Watcher:
        """A mailbox that receives from now on. Raises :class:`TooManySockets`."""
        watchers = self._watchers.setdefault(user_id, set())
        if len(watchers) >= MAX_SOCKETS_PER_USER:
            raise TooManySockets()
        watcher = Watcher(user_id)
        watchers.add(watcher)
        if not self._running:
            self._running = [asyncio.create_task(self._listen()), asyncio.create_task(self._poll())]
        with contextlib.suppress(TimeoutError):  # a bus that is down must not keep sockets out: the poll serves them
            async with asyncio.timeout(1.0):
                await self._subscribed.wait()
        return watcher

    async def leave(self, watcher: Watcher) -> None:
        watchers = self._watchers.get(watcher.user_id)
        if watchers is not None:
            watchers.discard(watcher)
            if not watchers:
                del self._watchers[watcher.user_id]
        if not self._watchers:
            await self.close()

    async def close(self) -> None:
        running, self._running = self._running, []
        self._subscribed.clear()
        await end_tasks(running)

    @property
    def sockets(self) -> int:
        return sum(len(watchers) for watchers in self._watchers.values())

    async def snapshot(self, watcher: Watcher) -> list[ProgressFrame]:
        """The present state of everything the socket watches; by default the user's unfinished and latest tasks."""
        tasks = await self._watched(watcher)
        return watcher.note_snapshot(await self._progress.current(tasks), self._clock.monotonic())

    def encode(self, frame: ProgressFrame) -> str:
        """The message for one frame; several sockets of a user share the last encoding."""
        if self._encoded[0] is not frame:
            self._encoded = (frame, orjson.dumps({"event": "progress", "task": frame_shape(frame)}).decode())
        return self._encoded[1]

    async def _watched(self, watcher: Watcher) -> Sequence[Task]:
        if watcher.task_ids is not None:
            return await self._rows(watcher.user_id, watcher.task_ids)
        return await self._own(watcher.user_id)

    async def _own(self, user_id: int) -> list[Task]:
        """A user's unfinished and latest tasks."""
        unfinished = await self._store.page(user_id, statuses=UNFINISHED, page=1, per_page=SNAPSHOT_TASKS)
        latest = await self._store.page(user_id, page=1, per_page=SNAPSHOT_TASKS)
        return list({task.id: task for task in (*unfinished.items, *latest.items)}.values())

    async def _rows(self, user_id: int, task_ids: Iterable[str]) -> list[Task]:
        """Rows of the named tasks; unknown ones and those of others are left out without a word."""
        rows = []
        for task_id in sorted(task_ids)[:MAX_WATCHED]:
            with contextlib.suppress(NotFound):
                rows.append(await self._store.get(task_id, user_id=user_id))
        return rows

    async def _listen(self) -> None:
        while True:
            try:
                async with self._bus.subscribe() as frames:
                    self._subscribed.set()
                    async for frame in frames:
                        self._deliver(frame)
            except VAssetError as error:
                log.warning("progress_bus_lost", reason=error.reason)
            self._subscribed.clear()
            self._has_missed = True
            await asyncio.sleep(0.5 + random.random())

    def _deliver(self, frame: ProgressFrame) -> None:
        watchers = self._watchers.get(frame.user_id)
        if watchers:
            now = self._clock.monotonic()
            for watcher in watchers:
                watcher.offer(frame, now)

    async def _poll(self) -> None:
        looked_at = self._clock.monotonic() - DEAF_SECONDS
        while True:
            await asyncio.sleep(ROUND_SECONDS)
            now = self._clock.monotonic()
            is_deaf = self._has_missed and now - looked_at >= DEAF_SECONDS
            if is_deaf:
                looked_at, self._has_missed = now, not self._subscribed.is_set()
            for user_id, watchers in list(self._watchers.items()):
                silent = {task for watcher in watchers for task in watcher.silent(now, SILENT_SECONDS)}
                if not silent and not is_deaf:
                    continue
                await asyncio.sleep(0)  # let frames pass between two users' look-ups
                try:
                    if is_deaf:
                        await self._look_for_news(user_id)
                    if silent:
                        await self._look_up(user_id, silent)
                except VAssetError as error:
                    self._has_missed = self._has_missed or is_deaf  # what could not be looked at is still unseen
                    log.warning("progress_poll_failed", reason=error.reason)

    async def _look_for_news(self, user_id: int) -> None:
        """Tasks that another gateway accepted while no frame could tell; what a socket knows already it drops."""
        if any(watcher.task_ids is None for watcher in self._watchers.get(user_id, ())):
            for frame in await self._progress.current(await self._own(user_id)):
                self._deliver(frame)

    async def _look_up(self, user_id: int, silent: set[str]) -> None:
        page = await self._store.page(user_id, statuses=UNFINISHED, page=1, per_page=SNAPSHOT_TASKS)
        rows = [task for task in page.items if task.id in silent]
        ended = silent - {task.id for task in rows}
        rows += await self._rows(user_id, ended)
        now = self._clock.monotonic()
        for frame in await self._progress.current(rows):
            self._deliver(frame)
            patience = WAITING_SECONDS if frame.phase in WAITING else 0.0
            for watcher in self._watchers.get(user_id, ()):
                watcher.asked_about(frame.task_id, now + patience)
