"""A download task and the only legal ways for it to change state."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from vasset.domain.errors import IllegalTransition
from vasset.domain.media import Container


class Mode(StrEnum):
    """How long the finished file lives (REQUIREMENTS A3)."""

    QUICK = "quick_download"
    ARCHIVE = "archive_download"


class TaskStatus(StrEnum):
    """What the SQL row says. ``RETRY`` waits for ``not_before``; the last three are final until a user retries."""

    QUEUED = "queued"
    RUNNING = "running"
    RETRY = "retry"
    PAUSED = "paused"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_terminal(self) -> bool:
        return self in TERMINAL


TERMINAL = frozenset({TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.CANCELLED})
CLAIMABLE = frozenset({TaskStatus.QUEUED, TaskStatus.RETRY})

TRANSITIONS: dict[TaskStatus, frozenset[TaskStatus]] = {
    TaskStatus.QUEUED: frozenset({TaskStatus.RUNNING, TaskStatus.PAUSED, TaskStatus.CANCELLED, TaskStatus.FAILED}),
    TaskStatus.RUNNING: frozenset(
        {
            TaskStatus.QUEUED,  # drained, or taken from a dead worker: the attempt does not count when drained
            TaskStatus.RETRY,
            TaskStatus.PAUSED,
            TaskStatus.COMPLETED,
            TaskStatus.FAILED,
            TaskStatus.CANCELLED,
        }
    ),
    TaskStatus.RETRY: frozenset({TaskStatus.RUNNING, TaskStatus.PAUSED, TaskStatus.CANCELLED, TaskStatus.FAILED}),
    TaskStatus.PAUSED: frozenset({TaskStatus.QUEUED, TaskStatus.CANCELLED, TaskStatus.FAILED}),
    TaskStatus.COMPLETED: frozenset(),
    TaskStatus.FAILED: frozenset({TaskStatus.QUEUED}),  # the user asks again: a new debit, attempts from zero
    TaskStatus.CANCELLED: frozenset({TaskStatus.QUEUED}),
}


class Phase(StrEnum):
    """What a task is doing right now, as people see it (DESIGN §3)."""

    QUEUED = "queued"
    PARSING = "parsing"
    DOWNLOADING = "downloading"
    MERGING = "merging"
    POSTPROCESSING = "postprocessing"
    FINALIZING = "finalizing"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    PAUSED = "paused"


def check_transition(current: TaskStatus, wanted: TaskStatus) -> None:
    """Raise :class:`IllegalTransition` unless a task may go from ``current`` to ``wanted``."""
    if wanted not in TRANSITIONS[current]:
        raise IllegalTransition(f"a {current} download cannot become {wanted}")


@dataclass(frozen=True, slots=True)
class TaskFailure:
    """Why a task failed, as stored on its row and told to its user."""

    reason: str
    message: str
    retryable: bool
    kind: str | None = None  # a name of ``domain/faults.py``; rows of before have none


@dataclass(frozen=True, slots=True)
class Submission:
    """What a user asks for; every field is already checked."""

    user_id: int
    url: str
    mode: Mode
    quality: str
    container: Container
    title: str | None = None
    duration_seconds: float | None = None
    with_subtitles: bool = True


@dataclass(frozen=True, slots=True)
class Task:
    """One row of ``tasks``. Times are aware UTC."""

    id: str
    user_id: int
    history_id: int
    url: str
    mode: Mode
    quality: str
    container: Container
    status: TaskStatus
    phase: Phase
    attempt: int
    fence: int
    created_at: datetime
    updated_at: datetime
    title: str | None = None
    duration_seconds: float | None = None
    lease_owner: str | None = None
    lease_until: datetime | None = None
    not_before: datetime | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    downloaded_bytes: int = 0
    total_bytes: int | None = None
    failure: TaskFailure | None = None
    extractor_version: str | None = None
    with_subtitles: bool = True
    is_live: bool = False  # as the last extraction found it


@dataclass(frozen=True, slots=True)
class Lease:
    """A worker's right to write about a task. Every write carries ``fence``; a stale one raises ``LeaseLost``."""

    task: Task
    worker: str
    fence: int


class Intent(StrEnum):
    """What a heartbeat answers: what the user wants of the running task by now."""

    GO_ON = "go_on"
    CANCEL = "cancel"
    PAUSE = "pause"
    FINISH = "finish"  # end the recording of a live stream and keep what there is
