"""What is known about downloads right now: the rows decide, live frames add the numbers.

The bus is lossy by contract (Redis Pub/Sub is at-most-once), so whoever follows a task asks here again when it has fallen silent.
"""

from __future__ import annotations

from collections.abc import Sequence

from vasset.domain.download import Task, TaskStatus
from vasset.domain.errors import Unavailable
from vasset.domain.ports import ProgressBus
from vasset.domain.progress import SEQ_PER_FENCE, ProgressFrame
from vasset.usecases.track_progress import frame_of

UNFINISHED = (TaskStatus.QUEUED, TaskStatus.RUNNING, TaskStatus.RETRY, TaskStatus.PAUSED)


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
    def __init__(self, bus: ProgressBus) -> None:
        self._bus = bus

    async def current(self, tasks: Sequence[Task]) -> list[ProgressFrame]:
        """One frame per given task, in order: what polling answers, with the numbers the WebSocket shows."""
        try:
            live = await self._bus.latest([task.id for task in tasks]) if tasks else {}
        except Unavailable:
            live = {}  # the bus is disposable: rows are the truth
        return [newest(task, live.get(task.id)) for task in tasks]
