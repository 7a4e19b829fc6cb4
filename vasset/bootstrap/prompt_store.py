"""A task store that tells this process at once what was written, instead of letting it be found at the next poll or heartbeat.

Nothing depends on it: a hint that is lost costs a heartbeat (cancel) or a poll (start).
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable
from typing import Protocol

from vasset.domain.download import Submission, Task
from vasset.domain.errors import Unavailable
from vasset.domain.ports import ProgressBus, Submitted, TaskStore
from vasset.domain.user import Role
from vasset.telemetry import faultpoint
from vasset.usecases.track_progress import frame_of


class Hints(Protocol):
    """``WorkerControl`` satisfies it; in a gateway of its own the hints travel over the bus."""

    def nudge(self, task_id: str) -> None:
        """Something was asked of this task."""
        ...

    def wake(self) -> None:
        """There is something new to do."""
        ...


class PromptTaskStore:
    """The port ``TaskStore``; every method that is not named here goes to the store unchanged."""

    def __init__(self, store: TaskStore, bus: ProgressBus, hints: Hints) -> None:
        self._store = store
        self._bus = bus
        self._hints = hints

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    async def submit(self, submission: Submission, *, role: Role, idempotency_key: str | None) -> Submitted:
        submitted = await self._store.submit(submission, role=role, idempotency_key=idempotency_key)
        faultpoint.reach("K1")
        if submitted.created:
            self._hints.wake()  # no worker has it yet: there is nobody to nudge
            await self._show(submitted.task)
        return submitted

    async def cancel(self, task_id: str, *, user_id: int | None) -> Task:
        return await self._told(self._store.cancel(task_id, user_id=user_id))

    async def pause(self, task_id: str, *, user_id: int | None) -> Task:
        return await self._told(self._store.pause(task_id, user_id=user_id))

    async def resume(self, task_id: str, *, user_id: int | None) -> Task:
        return await self._told(self._store.resume(task_id, user_id=user_id))

    async def finish(self, task_id: str, *, user_id: int | None) -> Task:
        return await self._told(self._store.finish(task_id, user_id=user_id))

    async def retry(self, task_id: str, *, user_id: int | None, role: Role) -> Task:
        return await self._told(self._store.retry(task_id, user_id=user_id, role=role))

    async def _told(self, write: Awaitable[Task]) -> Task:
        task = await write
        self._hints.nudge(task.id)
        self._hints.wake()
        await self._show(task)
        return task

    async def _show(self, task: Task) -> None:
        """After the hint: a worker's later frames have a higher ``seq``, so the order of frames is safe."""
        with contextlib.suppress(Unavailable):
            await self._bus.publish([frame_of(task)])
