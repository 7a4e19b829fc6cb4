"""The port ``WorkerControl`` over one pool."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from vasset.domain.ports import WorkerState
from vasset.worker.admission import Admission
from vasset.worker.pool import Pool


class PoolControl:
    def __init__(
        self,
        pool: Pool,
        admission: Admission,
        *,
        breakers: Callable[[], Mapping[str, str]],
        extractor_version: Callable[[], str],
        drain_seconds: float,
    ) -> None:
        self._pool = pool
        self._admission = admission
        self._breakers = breakers
        self._extractor_version = extractor_version
        self._drain_seconds = drain_seconds
        self._draining: asyncio.Task[None] | None = None

    def state(self) -> WorkerState:
        return WorkerState(
            name=self._pool.worker,
            slots=self._pool.slots.size,
            draining=self._pool.is_draining,
            task_ids=tuple(run.task.id for run in self._pool.runs()),
            waiting_for=self._admission.obstacle(),
            breakers=dict(self._breakers()),
            extractor_version=self._extractor_version(),
        )

    def resize(self, slots: int) -> None:
        self._pool.resize(slots)

    def begin_drain(self) -> None:
        if self._draining is None:
            self._draining = asyncio.create_task(self._pool.drain(self._drain_seconds), name="drain by request")

    def nudge(self, task_id: str) -> None:
        self._pool.nudge(task_id)

    def wake(self) -> None:
        self._pool.wake()
