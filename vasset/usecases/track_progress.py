"""One bytes-weighted percentage that never goes back, and frames whose ``seq`` always rises."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime

from vasset.domain.download import Phase, Task, TaskFailure, TaskStatus
from vasset.domain.faults import kind_named
from vasset.domain.ports import TransferSnapshot
from vasset.domain.progress import SEQ_PER_FENCE, ProgressFrame, Waiting

_PHASES = {
    TaskStatus.QUEUED: Phase.QUEUED,
    TaskStatus.RETRY: Phase.QUEUED,
    TaskStatus.PAUSED: Phase.PAUSED,
    TaskStatus.COMPLETED: Phase.COMPLETED,
    TaskStatus.FAILED: Phase.FAILED,
    TaskStatus.CANCELLED: Phase.CANCELLED,
}
ALMOST_DONE_PERCENT = 99.9  # 100 is said once, by the completed frame: a merge may still fail
# A fence's frames end with what the row says after it: waiting again, or ended. Both are above every tick of that execution, and the same
# whether the row or the bus tells. Between the two are the frames that say what is being waited for.
LAST_OF_FENCE = SEQ_PER_FENCE - 1
WAITING_OF_FENCE = SEQ_PER_FENCE - 100_000
LAST_TICK_OF_FENCE = WAITING_OF_FENCE - 1


def describe_failure(failure: TaskFailure | None, retry_at: datetime | None = None) -> dict[str, object] | None:
    """The ``error`` object of frames and of the API. ``retry_at`` is when it is tried again by itself, if it is."""
    if failure is None:
        return None
    kind = kind_named(failure.kind, failure.reason)
    return {
        "reason": failure.reason,
        "kind": kind.name,
        "fault": kind.fault.value,
        "message": failure.message,
        "action": kind.action,
        "retryable": failure.retryable,
        "retry_at": None if retry_at is None else retry_at.isoformat(),
    }


def retry_moment(task: Task) -> datetime | None:
    return task.not_before if task.status is TaskStatus.RETRY else None


def describe_waiting(waiting: Waiting | None) -> dict[str, str] | None:
    """The ``waiting_for`` object of frames and of the API."""
    return None if waiting is None else {"reason": waiting.reason, "message": waiting.message}


def waiting_frame(task: Task, waiting: Waiting, now: float) -> ProgressFrame:
    """What a task that nobody runs waits for. Newer ones are above older ones, and all of them below whatever comes next."""
    seconds = min(max(0, int(now - task.updated_at.timestamp())), LAST_OF_FENCE - WAITING_OF_FENCE - 2)
    frame = frame_of(task)
    return replace(frame, seq=frame.seq + 1 + seconds, timestamp=now, waiting_for=describe_waiting(waiting))


def frame_of(task: Task) -> ProgressFrame:
    """What the SQL row alone can say: the fallback when no live frame is known.

    Its ``seq`` is above every tick of the last execution, so whoever followed that one sees the task wait or end, and sees it once.
    """
    phase = task.phase if task.status is TaskStatus.RUNNING else _PHASES[task.status]
    total = task.total_bytes
    percent = 100.0 * task.downloaded_bytes / total if total else None
    if task.status is TaskStatus.COMPLETED:
        percent = 100.0
    elif percent is not None:
        percent = min(percent, ALMOST_DONE_PERCENT)
    return ProgressFrame(
        task_id=task.id,
        user_id=task.user_id,
        seq=task.fence * SEQ_PER_FENCE + _after_fence(task.status),
        phase=phase,
        timestamp=(task.completed_at or task.updated_at).timestamp(),
        percent=percent,
        downloaded_bytes=task.downloaded_bytes,
        total_bytes=total,
        attempt=max(1, task.attempt),
        history_id=task.history_id,
        title=task.title,
        error=describe_failure(task.failure, retry_moment(task)),
        is_live=task.is_live,
    )


def _after_fence(status: TaskStatus) -> int:
    if status is TaskStatus.RUNNING:
        return 0
    return LAST_OF_FENCE if status.is_terminal else WAITING_OF_FENCE


@dataclass(slots=True)
class ProgressTracker:
    """Turns snapshots of one execution of a task into frames. Not thread-safe: the event loop owns it."""

    task: Task
    fence: int
    phase: Phase = Phase.PARSING
    title: str | None = None
    estimated_bytes: int | None = None
    is_live: bool = False
    waiting: Waiting | None = None
    _downloaded: int = 0
    _total: int | None = None
    _total_is_estimate: bool = False
    _speed: float | None = None
    _percent: float | None = None
    _next: int = 1
    _reported: ProgressFrame | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Go on where the last execution was: also after a restart, and when it has to fetch bytes again, nothing goes back."""
        if self.task.downloaded_bytes:
            known = frame_of(self.task)
            self._downloaded, self._total, self._percent = known.downloaded_bytes, known.total_bytes, known.percent

    def enter(self, phase: Phase) -> None:
        """Move to another phase; a speed is only shown while bytes flow."""
        self.phase = phase
        if phase is not Phase.DOWNLOADING:
            self._speed = None

    def observe(self, snapshot: TransferSnapshot) -> None:
        """Take the sum over all streams. The percentage keeps its maximum when a total is corrected upward."""
        self._downloaded = max(self._downloaded, snapshot.downloaded_bytes)
        self._speed = snapshot.speed_bytes_per_second
        self._total_is_estimate = snapshot.total_bytes is None
        self._total = snapshot.total_bytes or self.estimated_bytes
        if self._total is not None:
            self._total = max(self._total, self._downloaded)
        if self._total:
            now = min(100.0 * self._downloaded / self._total, ALMOST_DONE_PERCENT)
            self._percent = max(self._percent or 0.0, now)

    def tick(self, now: float) -> ProgressFrame | None:
        """The next frame, or None when nothing has changed since the last one."""
        frame = self._frame(now)
        if self._reported is not None and replace(frame, seq=0, timestamp=0.0) == self._reported:
            return None
        self._reported = replace(frame, seq=0, timestamp=0.0)
        self._next = min(self._next + 1, LAST_TICK_OF_FENCE)
        return frame

    def ending(
        self,
        now: float,
        phase: Phase,
        failure: TaskFailure | None = None,
        *,
        size_bytes: int | None = None,
        retry_at: datetime | None = None,
    ) -> ProgressFrame:
        """The last frame of this execution, whatever was reported before; ``size_bytes`` is the finished file's."""
        self.enter(phase)
        self.waiting = None
        if phase is Phase.COMPLETED:
            self._percent = 100.0
            self._total = self._downloaded = self._downloaded if size_bytes is None else size_bytes
            self._total_is_estimate = False
        frame = self._frame(now)
        place = LAST_OF_FENCE if frame.is_terminal else WAITING_OF_FENCE
        return replace(frame, seq=self.fence * SEQ_PER_FENCE + place, error=describe_failure(failure, retry_at))

    @property
    def downloaded_bytes(self) -> int:
        return self._downloaded

    @property
    def total_bytes(self) -> int | None:
        return self._total

    def _frame(self, now: float) -> ProgressFrame:
        remaining = self._total - self._downloaded if self._total is not None else None
        eta = remaining / self._speed if remaining and self._speed else None
        return ProgressFrame(
            task_id=self.task.id,
            user_id=self.task.user_id,
            seq=self.fence * SEQ_PER_FENCE + self._next,
            phase=self.phase,
            timestamp=now,
            percent=None if self._percent is None else round(self._percent, 2),
            downloaded_bytes=self._downloaded,
            total_bytes=self._total,
            total_is_estimate=self._total_is_estimate and self._total is not None,
            speed_bytes_per_second=None if self._speed is None else round(self._speed, 1),
            eta_seconds=None if eta is None else round(eta, 1),
            attempt=max(1, self.task.attempt),
            history_id=self.task.history_id,
            title=self.title or self.task.title,
            waiting_for=describe_waiting(self.waiting),
            is_live=self.is_live,
        )
