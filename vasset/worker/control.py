"""The port ``WorkerControl``: one worker as its operators see and steer it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from vasset.domain.ports import Breaker, WorkerState
from vasset.worker.pool import Pool


class Control:
    def __init__(
        self,
        pool: Pool,
        *,
        extractor_version: Callable[[], str],
        begin_drain: Callable[[], None],
        breaker: Breaker | None = None,
    ) -> None:
        self._pool = pool
        self._extractor_version = extractor_version
        self._begin_drain = begin_drain
        self._breaker = breaker

    def state(self) -> WorkerState:
        breakers: Mapping[str, str] = self._breaker.states() if self._breaker is not None else {}
        return WorkerState(
            name=self._pool.worker,
            slots=self._pool.slots.size,
            draining=self._pool.is_draining,
            task_ids=[run.task.id for run in self._pool.runs()],
            waiting_for=None if (obstacle := self._pool.obstacle()) is None else obstacle.message,
            breakers=breakers,
            extractor_version=self._extractor_version(),
        )

    def resize(self, slots: int) -> None:
        self._pool.resize(slots)

    def begin_drain(self) -> None:
        self._begin_drain()

    def nudge(self, task_id: str) -> None:
        self._pool.nudge(task_id)

    def wake(self) -> None:
        self._pool.wake()
