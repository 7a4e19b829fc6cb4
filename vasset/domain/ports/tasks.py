"""Tasks in SQL, the messages that wake their workers, and the rows of their files."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from vasset.domain.download import Intent, Lease, Submission, Task, TaskFailure, TaskStatus
from vasset.domain.history import HistoryEntry, Page, PublishedFile
from vasset.domain.user import Role


@dataclass(frozen=True, slots=True)
class Submitted:
    """``created`` is False when an earlier request with the same idempotency key made the task."""

    task: Task
    created: bool


@dataclass(frozen=True, slots=True)
class OutboxMessage:
    """``routing_key``: ``download.quick``, ``download.archive`` or ``download.dead``. ``body`` is C2's JSON object."""

    id: int
    routing_key: str
    task_id: str
    body: Mapping[str, object]


class TaskStore(Protocol):
    """Tasks, their history rows, quota ledger and outbox: each method is one transaction. The SQL row is the task.

    Methods with a ``user_id`` answer ``NotFound`` for another user's task as for an unknown one; ``None`` means any user.
    """

    async def submit(self, submission: Submission, *, role: Role, idempotency_key: str | None) -> Submitted:
        """Debit quota, insert history, task and outbox rows together.

        Raises ``QuotaExceeded``, ``TooManyTasks``, ``IdempotencyMismatch``, ``DependencyDown``.
        """
        ...

    async def get(self, task_id: str, *, user_id: int | None) -> Task: ...

    async def page(
        self, user_id: int, *, statuses: Sequence[TaskStatus] = (), page: int = 1, per_page: int = 20
    ) -> Page[Task]: ...

    async def cancel(self, task_id: str, *, user_id: int | None) -> Task:
        """Final at once for a task that is not running; a running one is told by its next heartbeat. Idempotent."""
        ...

    async def pause(self, task_id: str, *, user_id: int | None) -> Task: ...

    async def resume(self, task_id: str, *, user_id: int | None) -> Task: ...

    async def retry(self, task_id: str, *, user_id: int | None, role: Role) -> Task:
        """Queue a failed or cancelled task again under a new debit."""
        ...

    async def finish(self, task_id: str, *, user_id: int | None) -> Task:
        """Wish that the recording of a live stream ends and becomes the file. Raises ``IllegalTransition`` for anything else."""
        ...

    async def keep(self, task_id: str, *, user_id: int) -> Task:
        """Mark a completed quick download as archive; the worker side moves the file (see ``FileStore.promote``)."""
        ...

    async def claim(self, task_id: str, *, worker: str, lease_seconds: float) -> Lease | None:
        """Take the task if it may run now; None when it is gone, taken, final, or not due."""
        ...

    async def claim_next(
        self, *, worker: str, lease_seconds: float, per_user_limit: int, full_sites: Collection[str] = ()
    ) -> Lease | None:
        """Take the next due task, fair between users: the user with the fewest running tasks first, then the oldest.

        Tasks of ``full_sites`` (as ``usecases/site_key.py`` names them) are left where they are.
        """
        ...

    async def heartbeat(
        self, lease: Lease, *, lease_seconds: float, downloaded_bytes: int | None = None, total_bytes: int | None = None
    ) -> Intent:
        """Prolong the lease, note how far it is, and learn the user's wish. Raises ``LeaseLost``."""
        ...

    async def due(self, *, limit: int) -> Sequence[Task]:
        """Tasks that could be claimed and are not, the oldest first."""
        ...

    async def record_extraction(
        self,
        lease: Lease,
        *,
        title: str,
        duration_seconds: float | None,
        extractor_version: str,
        total_bytes: int | None,
        is_live: bool = False,
    ) -> None: ...

    async def complete(self, lease: Lease, file: PublishedFile, *, duration_seconds: float | None) -> Task:
        """Make the file visible. Raises ``LeaseLost`` when the fence moved or the task was cancelled."""
        ...

    async def fail(self, lease: Lease, failure: TaskFailure, *, retry_in_seconds: float | None) -> Task:
        """To ``retry`` when ``retry_in_seconds`` is given, counted by the database's clock; else failed for good: refund once, dead letter through the outbox."""
        ...

    async def stop(self, lease: Lease, intent: Intent) -> Task:
        """The worker obeyed ``CANCEL`` (→ cancelled, refund policy applied once) or ``PAUSE`` (→ paused)."""
        ...

    async def release(self, lease: Lease) -> None:
        """Hand the task back unharmed (drain): queued again, the attempt does not count."""
        ...

    async def reap(self, *, limit: int = 100) -> Sequence[str]:
        """Queue again every running task whose lease ended, and wake every due retry; answers their ids."""
        ...

    async def active_count(self) -> Mapping[TaskStatus, int]: ...


class Retention(Protocol):
    """Rows that were kept for long enough."""

    async def forget(self, *, limit: int) -> int:
        """Remove at most ``limit`` rows of each kind; answer how many went. Files are nobody's here: a row that has one stays."""
        ...


class Outbox(Protocol):
    async def take(self, *, limit: int) -> Sequence[OutboxMessage]:
        """Oldest unsent messages; several relays may run (skip-locked or one owner)."""
        ...

    async def mark_sent(self, ids: Sequence[int]) -> None: ...

    async def backlog(self) -> int: ...


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A task that failed for good and that no operator has dealt with yet. ``body`` is C2's JSON text."""

    task_id: str
    reason: str
    message: str
    attempt: int
    failed_at: datetime
    body: str


class DeadLetters(Protocol):
    """What operators do with failed tasks. SQL is the truth; the broker's dead-letter queue is a copy for other tools."""

    async def list(self, *, limit: int, reason: str | None = None) -> Sequence[DeadLetter]: ...

    async def replay(self, task_ids: Sequence[str], *, reason: str | None = None) -> int:
        """Queue again, on the operator's account: no quota is debited. No ids: all."""
        ...

    async def purge(self, task_ids: Sequence[str], *, reason: str | None = None) -> int:
        """Take off the list; the tasks stay failed. No ids: all."""
        ...


class FileStore(Protocol):
    """The rows behind files: what expired, what a user deleted, what disk and rows disagree on."""

    async def expired(self, *, limit: int) -> Sequence[HistoryEntry]:
        """Quick files past their time and files of deleted rows, marked: from now on nobody may keep or read them.

        The same rows come again until ``forget_file``, so a crash in between loses nothing.
        """
        ...

    async def forget_file(self, history_id: int, *, reason: str) -> None:
        """The file is gone; the row stays as history without a file."""
        ...

    def known_paths(self) -> AsyncIterator[tuple[int, str]]: ...

    async def misplaced(self, *, limit: int) -> Sequence[HistoryEntry]:
        """Kept files that still lie where quick files lie."""
        ...

    async def promote(self, history_id: int, file: PublishedFile) -> bool:
        """Point a kept row at its file's new place; False when the row was deleted meanwhile."""
        ...
