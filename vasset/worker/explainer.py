"""Says why due downloads do not start: on each of them (list, page and WebSocket), in the log, and counted for Prometheus.

The word travels as a progress frame, beside the row and without a write: it is true for seconds. Where several workers wait for different
things, a task shows what the last of them said.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping

import structlog

from vasset.domain.errors import Unavailable
from vasset.domain.ports import Clock, ProgressBus, TaskStore
from vasset.domain.progress import Waiting
from vasset.usecases.track_progress import waiting_frame
from vasset.worker.pool import Pool

LOOK_SECONDS = 1.0
MOST_EXPLAINED = 500
REPEAT_SECONDS = 30.0  # the bus forgets its latest frames after two minutes
log = structlog.get_logger("vasset.worker")


class Explainer:
    def __init__(self, store: TaskStore, pool: Pool, bus: ProgressBus, clock: Clock) -> None:
        self._store = store
        self._pool = pool
        self._bus = bus
        self._clock = clock
        self._told: dict[str, tuple[Waiting, float]] = {}
        self._obstacle: str | None = None

    def counts(self) -> Mapping[str, int]:
        """How many tasks wait for each reason, as of the last look."""
        return Counter(waiting.reason for waiting, _ in self._told.values())

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Explain what is new or was said long ago. Asks SQL only while something could be waited for."""
        self._log_changes()
        if not self._pool.may_be_waited_for:
            self._told.clear()
            return
        try:
            due = await self._store.due(limit=MOST_EXPLAINED)
        except Unavailable:
            return
        now, told = self._clock.monotonic(), self._told
        self._told, frames = {}, []
        for task in due:
            if (waiting := self._pool.waits_for(task)) is None:
                continue
            said, at = told.get(task.id, (None, now))
            if said != waiting or now - at >= REPEAT_SECONDS:
                at = now
                frames.append(waiting_frame(task, waiting, self._clock.now().timestamp()))
            self._told[task.id] = waiting, at
        if frames:
            try:
                await self._bus.publish(frames)
            except Unavailable:
                self._told.clear()  # said again when the bus is back

    def _log_changes(self) -> None:
        obstacle = self._pool.obstacle()
        reason = obstacle.reason if obstacle is not None else None
        if reason != self._obstacle:
            self._obstacle = reason
            if obstacle is not None:
                log.warning("downloads wait", reason=reason, detail=obstacle.message)
            else:
                log.info("downloads start again")
