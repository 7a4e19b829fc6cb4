"""What must hold of a user's tasks, whatever they do and however the workers race with them: the model of the state machine test."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from vasset.domain.download import TERMINAL, TRANSITIONS, TaskStatus

Site = Literal["succeeds", "fails", "stalls", "recovers"]
Wish = Literal["go on", "pause", "cancel"]

BY_ITSELF: dict[TaskStatus, frozenset[TaskStatus]] = {
    TaskStatus.QUEUED: frozenset({TaskStatus.RUNNING}),
    TaskStatus.RUNNING: frozenset({TaskStatus.RETRY, TaskStatus.COMPLETED, TaskStatus.FAILED}),
    TaskStatus.RETRY: frozenset({TaskStatus.RUNNING}),
}
"""Steps a worker takes when nobody asked for anything. No worker dies or drains here."""


@dataclass
class KnownTask:
    """One task as its user knows it: what its site does, what was asked last, what was seen last."""

    task_id: str
    history_id: int
    path: str
    site: Site
    status: TaskStatus = TaskStatus.QUEUED
    wish: Wish = "go on"
    released: bool = False
    was_stopping: bool = False
    """Resumed while its worker was about to pause it: the worker may still stop, and then hands the task back to the queue."""
    kept: bool = False
    deleted: bool = False

    @property
    def stalls(self) -> bool:
        return self.site == "stalls" and not self.released

    @property
    def is_at_rest(self) -> bool:
        """Nothing more happens to it until its user asks."""
        return self.status in TERMINAL or self.status is TaskStatus.PAUSED

    @property
    def will_rest(self) -> bool:
        return not self.stalls or self.wish != "go on"

    def observe(self, found: str) -> None:
        """Take note of a status. Raises ``AssertionError`` when no legal way leads there from the last one."""
        status = TaskStatus(found)
        assert status in self._reachable(), (
            f"{self.task_id} ({self.site}, wish: {self.wish}) went from {self.status} to {status}"
        )
        self.status = status
        if self.is_at_rest:
            self.wish, self.was_stopping = "go on", False

    def _reachable(self) -> set[TaskStatus]:
        reached, edge = {self.status}, [self.status]
        while edge:
            here = edge.pop()
            for there in self._steps(here) - reached:
                assert there in TRANSITIONS[here], f"the model believes in {here} → {there}"
                reached.add(there)
                edge.append(there)
        return reached

    def _steps(self, here: TaskStatus) -> frozenset[TaskStatus]:
        steps = BY_ITSELF.get(here, frozenset())
        if self.wish == "cancel":  # final: whatever the worker was about to say is not believed any more
            return (steps - {TaskStatus.COMPLETED, TaskStatus.FAILED}) | (
                {TaskStatus.CANCELLED} if here not in TERMINAL else frozenset()
            )
        if self.site == "fails":
            steps -= {TaskStatus.COMPLETED}
        elif self.site in {"succeeds", "recovers"}:
            steps -= {TaskStatus.FAILED}
        elif self.stalls:
            steps -= {TaskStatus.COMPLETED, TaskStatus.FAILED}
        if self.was_stopping and here is TaskStatus.RUNNING:
            steps |= {TaskStatus.QUEUED}
        if self.wish == "pause" and here in {TaskStatus.QUEUED, TaskStatus.RUNNING, TaskStatus.RETRY}:
            steps |= {TaskStatus.PAUSED}
        return steps

    def charged(self) -> tuple[int, int]:
        """At least and at most so many units of quota does it hold now."""
        if self.status in {TaskStatus.FAILED, TaskStatus.CANCELLED}:
            return 0, 0
        settled = self.is_at_rest or (self.stalls and self.wish != "cancel")
        return (1, 1) if settled else (0, 1)


@dataclass
class Frame:
    """What a WebSocket said of a task."""

    seq: int
    phase: str
    percent: float | None


@dataclass
class UserModel:
    """Everything one user did."""

    daily_limit: int
    tasks: list[KnownTask] = field(default_factory=list)
    keys: dict[str, tuple[KnownTask, str]] = field(default_factory=dict)

    def visible(self) -> Iterator[KnownTask]:
        return (task for task in self.tasks if not task.deleted)

    def charged(self) -> tuple[int, int]:
        bounds = [task.charged() for task in self.tasks]
        return sum(least for least, _ in bounds), sum(most for _, most in bounds)

    def may_start(self, accepted: bool) -> None:
        """Whether a start may be answered like this by the quota."""
        least, most = self.charged()
        if accepted:
            assert least < self.daily_limit, f"accepted although at least {least} of {self.daily_limit} are used"
        else:
            assert most >= self.daily_limit, f"refused although at most {most} of {self.daily_limit} are used"


def check_frames(task_id: str, frames: Iterable[Frame]) -> None:
    """Sequence numbers rise, always."""
    last: Frame | None = None
    for frame in frames:
        if last is not None:
            assert frame.seq > last.seq, f"{task_id}: seq {frame.seq} after {last.seq}"
        last = frame
