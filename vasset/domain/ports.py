"""What use cases need from the outside. Every port has one contract suite that runs over every adapter.

Local object, gRPC client and port share one signature: ``Authority``, ``Parser`` and ``Library`` are implemented by
``services/*/service.py`` and by ``services/*/client.py`` alike.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal, Protocol

from vasset.domain.download import Intent, Lease, Phase, Submission, Task, TaskFailure, TaskStatus
from vasset.domain.history import HistoryEntry, Page, PublishedFile, Statistics
from vasset.domain.media import Container, Extraction, MediaInfo, ProcessedMedia, Stream
from vasset.domain.progress import ProgressFrame
from vasset.domain.quota import Quota
from vasset.domain.user import Identity, Role, SessionInfo, TokenPair, User


class Clock(Protocol):
    """Time, injectable. ``now`` is aware UTC; ``monotonic`` in seconds."""

    def now(self) -> datetime: ...

    def monotonic(self) -> float: ...


# --- SQL -------------------------------------------------------------------------------------------------------------


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

    async def claim_next(self, *, worker: str, lease_seconds: float, per_user_limit: int) -> Lease | None:
        """Take the next due task, fair between users: the user with the fewest running tasks first, then the oldest."""
        ...

    async def heartbeat(self, lease: Lease, *, lease_seconds: float) -> Intent:
        """Prolong the lease and learn the user's wish. Raises ``LeaseLost``."""
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


@dataclass(frozen=True, slots=True)
class Account:
    """A user and the hash that proves them."""

    user: User
    password_hash: str


@dataclass(frozen=True, slots=True)
class SessionState:
    """What a token's session is worth now."""

    user_id: int
    role: Role
    alive: bool


@dataclass(frozen=True, slots=True)
class Rotation:
    """One refresh token turned into its child. ``repeated_nonce`` is set when that had happened before, within the grace time."""

    session_id: int
    user_id: int
    role: Role
    repeated_nonce: bytes | None = None


class AccountStore(Protocol):
    """The auth service's own tables. Tokens arrive hashed (32 bytes); nothing here could sign anybody in."""

    async def create(
        self,
        email: str,
        password_hash: str,
        nickname: str,
        *,
        registration: Literal["open", "invite", "closed"],
        invitation_hash: bytes | None,
    ) -> User:
        """The first account ever becomes administrator under any ``registration``, exactly once.

        Raises ``EmailTaken`` or ``RegistrationClosed``.
        """
        ...

    async def find(self, email: str) -> Account | None: ...

    async def account(self, user_id: int) -> Account | None: ...

    async def set_password(self, user_id: int, password_hash: str) -> None:
        """Ends every session of the user in the same transaction."""
        ...

    async def set_role(self, user_id: int, role: Role) -> User:
        """Raises ``NotFound``, or ``Conflict`` when no administrator would be left."""
        ...

    async def open_session(
        self, user_id: int, token_hash: bytes, *, ttl_seconds: int, user_agent: str | None
    ) -> int: ...

    async def rotate(
        self, token_hash: bytes, *, child_hash: bytes, nonce: bytes, ttl_seconds: int, grace_seconds: float
    ) -> Rotation:
        """Spend a refresh token. Raises ``TokenRevoked`` (and ends the session) when it was spent before, ``TokenExpired``."""
        ...

    async def session(self, session_id: int) -> SessionState | None: ...

    async def sessions(self, user_id: int) -> Sequence[SessionInfo]: ...

    async def end_session(self, user_id: int, session_id: int) -> bool:
        """False when the user has no such session."""
        ...

    async def add_invitation(self, created_by: int, token_hash: bytes, *, ttl_seconds: int) -> None: ...


class LibraryStore(Protocol):
    """The asset service's own tables."""

    async def history(self, user_id: int, *, page: int, per_page: int, query: str | None) -> Page[HistoryEntry]: ...

    async def entry(self, user_id: int, history_id: int) -> HistoryEntry: ...

    async def delete(self, user_id: int, history_id: int) -> HistoryEntry:
        """Hide the row and its task; the file goes by ``FileStore.expired``. Raises ``NotFound``, ``IllegalTransition``."""
        ...

    async def quota(self, user_id: int, role: Role) -> Quota: ...

    async def statistics(self, user_id: int | None) -> Statistics: ...


class Library(Protocol):
    """Asset service: history, files, quota, statistics."""

    async def history(
        self, identity: Identity, *, page: int = 1, per_page: int = 20, query: str | None = None
    ) -> Page[HistoryEntry]: ...

    async def entry(self, identity: Identity, history_id: int) -> HistoryEntry: ...

    async def delete(self, identity: Identity, history_id: int) -> HistoryEntry:
        """Forget the row and its file; cancels nothing: an unfinished task answers ``IllegalTransition``."""
        ...

    async def quota(self, identity: Identity) -> Quota: ...

    async def statistics(self, identity: Identity) -> Statistics: ...


class Authority(Protocol):
    """Auth service: the authority on accounts and sessions."""

    async def register(
        self, email: str, password: str, nickname: str, *, invitation: str | None = None, user_agent: str | None = None
    ) -> tuple[User, TokenPair]: ...

    async def login(
        self, email: str, password: str, *, address: str | None = None, user_agent: str | None = None
    ) -> tuple[User, TokenPair]: ...

    async def refresh(self, refresh_token: str) -> TokenPair: ...

    async def logout(self, identity: Identity) -> None: ...

    async def verify(self, access_token: str) -> Identity:
        """Signature, claims, session alive. Raises a subclass of ``Unauthenticated``."""
        ...

    async def profile(self, identity: Identity) -> User: ...

    async def change_password(self, identity: Identity, current: str, new: str) -> None: ...

    async def sessions(self, identity: Identity) -> Sequence[SessionInfo]: ...

    async def revoke_session(self, identity: Identity, session_id: int) -> None: ...

    async def set_role(self, identity: Identity, user_id: int, role: Role) -> User: ...

    async def invite(self, identity: Identity) -> str: ...


class Parser(Protocol):
    """Parser service: URL → metadata."""

    async def parse(self, identity: Identity, url: str, *, playlist_page: int = 1) -> MediaInfo: ...


# --- messaging, cache ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Delivery:
    """A wake-up for one task. ``acknowledge`` after the durable claim; harmless when lost, doubled or reordered."""

    task_id: str
    acknowledge: Callable[[], Awaitable[None]]


class TaskQueue(Protocol):
    async def publish(self, messages: Sequence[OutboxMessage]) -> Sequence[int]:
        """Publish with confirms; answers the ids that the broker confirmed."""
        ...

    def deliveries(self, *, prefetch: int) -> AbstractAsyncContextManager[AsyncIterator[Delivery]]: ...

    async def depth(self) -> int | None: ...


class ProgressBus(Protocol):
    """Lossy by contract, except that ``latest`` answers a terminal frame for at least a minute."""

    async def publish(self, frames: Sequence[ProgressFrame]) -> None: ...

    async def latest(self, task_ids: Sequence[str]) -> Mapping[str, ProgressFrame]: ...

    def subscribe(
        self, task_ids: Sequence[str] | None = None
    ) -> AbstractAsyncContextManager[AsyncIterator[ProgressFrame]]:
        """Frames of the named tasks, or of all. A slow reader loses ticks, never order: latest wins per task."""
        ...


class Cache(Protocol):
    """Bytes with a time to live; losing all of it at any moment costs latency only."""

    async def get(self, key: str) -> bytes | None: ...

    async def set(self, key: str, value: bytes, *, ttl_seconds: float) -> None: ...

    async def set_if_absent(self, key: str, value: bytes, *, ttl_seconds: float) -> bool: ...

    async def take(self, key: str) -> bytes | None:
        """Get and delete in one step: one-time tickets."""
        ...

    async def delete(self, key: str) -> None: ...

    async def increment(self, key: str, *, ttl_seconds: float) -> int: ...


# --- extraction, bytes, files ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ExtractionRequest:
    """``workspace`` is where phase two will find the streams; ``proxy`` the third-party exit leased for the whole task."""

    url: str
    quality: str
    container: Container
    task_id: str
    workspace: Path
    proxy: str | None = None
    timeout_seconds: float = 60.0
    with_subtitles: bool = True


class Extractor(Protocol):
    """yt-dlp, in child processes only."""

    async def describe(self, url: str, *, playlist_page: int = 1, proxy: str | None = None) -> MediaInfo: ...

    async def extract(self, request: ExtractionRequest) -> Extraction: ...

    async def download_native(
        self, request: ExtractionRequest, extraction: Extraction, on_progress: Callable[[TransferSnapshot], None]
    ) -> None:
        """Let yt-dlp's own downloader fetch the streams of kind ``native``, behind the guard."""
        ...

    async def record(
        self,
        request: ExtractionRequest,
        extraction: Extraction,
        on_progress: Callable[[TransferSnapshot], None],
        *,
        seconds: float,
        max_bytes: int,
    ) -> bool:
        """Record the live streams of kind ``native`` until they end, ``seconds`` or ``max_bytes`` are reached, or somebody asks to finish.

        False when the site stopped answering: extract again and go on. What was recorded before, also by another process, is kept.
        """
        ...

    def finish_recording(self, workspace: Path) -> None:
        """End the recording in this workspace, whichever process runs it now or later, and keep what it has."""
        ...

    async def postprocess(
        self, request: ExtractionRequest, extraction: Extraction, on_phase: Callable[[Phase], None]
    ) -> ProcessedMedia: ...

    @property
    def version(self) -> str: ...


@dataclass(frozen=True, slots=True)
class TransferSnapshot:
    downloaded_bytes: int
    total_bytes: int | None
    speed_bytes_per_second: float


@dataclass(frozen=True, slots=True)
class FetchedStream:
    stream: Stream
    path: Path
    size_bytes: int
    digest: str
    hash_algorithm: str


class Transfer(Protocol):
    """All streams of one task on their way, in the shared engine."""

    def snapshot(self) -> TransferSnapshot: ...

    async def result(self) -> Sequence[FetchedStream]:
        """Wait for every stream. Raises ``TransferFailed``, ``DiskFull`` or :class:`UrlsExpired`. Cancelling the waiter cancels the transfer."""
        ...

    def refresh(self, streams: Sequence[Stream]) -> None:
        """Go on with fresh URLs from a second extraction; the journal continues where validators agree."""
        ...

    async def cancel(self) -> None: ...


class Fetcher(Protocol):
    """The engine: one per process."""

    def start(
        self,
        streams: Sequence[Stream],
        workspace: Path,
        *,
        proxy: str | None = None,
        max_bytes: int | None = None,
        weight: int = 1,
    ) -> Transfer: ...

    async def digest(self, path: Path) -> tuple[str, str]:
        """``(algorithm, hex)`` of a local file, read outside the event loop (post-processed files)."""
        ...

    def set_limits(self, *, rate_bytes_per_second: int | None) -> None: ...


class Storage(Protocol):
    """Files under the data root (REQUIREMENTS A3, F)."""

    def workspace(self, task_id: str, fence: int) -> Path:
        """``tmp/{task_id}/.work-{fence}``, created if missing: what an earlier fence left in it serves this one.

        Taking over renames the folder, so every path a stale worker still knows is gone. A stale fence raises ``LeaseLost``.
        """
        ...

    def published(self, task_id: str, fence: int) -> PublishedFile | None:
        """The file an earlier fence made visible before it died, when its row never heard of it: only ``complete`` is missing."""
        ...

    async def publish(
        self, source: Path, lease: Lease, *, title: str, ext: str, digest: tuple[str, str]
    ) -> PublishedFile:
        """fsync → no-replace rename → fsync folder. ``digest`` is (algorithm, hex) of ``source``. A stale fence raises ``LeaseLost``."""
        ...

    def resolve(self, relative_path: str) -> Path:
        """The absolute path of a published file, without following a symlink out of the root."""
        ...

    def open(self, relative_path: str) -> int:
        """A descriptor for reading that nobody can race or redirect. Raises ``NotFound`` for anything but a published file."""
        ...

    async def promote(self, entry: HistoryEntry) -> PublishedFile:
        """Move a kept quick download to its user's archive. Repeating it after a crash finds the moved file."""
        ...

    async def delete(self, relative_path: str) -> None: ...

    async def discard_workspace(self, task_id: str, *, fence: int | None = None, withdraw: bool = False) -> None:
        """Remove unfinished files; with ``fence`` only those of that fence or an earlier one. Published files stay.

        ``withdraw`` is for a task whose row ended without a file: one that was published before a crash, and that no row will ever
        name, goes too.
        """
        ...

    def usage(self) -> DiskUsage: ...

    def reserve(self, size_bytes: int) -> AbstractAsyncContextManager[None]:
        """Hold space for one task; raises ``DiskPressure`` above the watermark, ``DiskFull`` when it cannot fit."""
        ...


class RemoteFiles(Protocol):
    """Files on workers' own disks, where there is no shared folder."""

    def read(self, owner: str, relative_path: str, *, offset: int, length: int) -> AsyncIterator[bytes]:
        """Raises ``NotFound`` or ``DependencyDown`` at the first step."""
        ...


@dataclass(frozen=True, slots=True)
class DiskUsage:
    total_bytes: int
    used_bytes: int
    free_bytes: int
    reserved_bytes: int

    @property
    def used_fraction(self) -> float:
        return (self.used_bytes + self.reserved_bytes) / self.total_bytes if self.total_bytes else 1.0


@dataclass(frozen=True, slots=True)
class WorkerState:
    """``waiting_for`` says why admission is closed (disk, memory, load), in words."""

    name: str
    slots: int
    draining: bool
    task_ids: Sequence[str]
    waiting_for: str | None
    breakers: Mapping[str, str]
    extractor_version: str


class WorkerControl(Protocol):
    """One worker as its operators see it; ``worker/control.py`` implements it over the pool."""

    def state(self) -> WorkerState: ...

    def resize(self, slots: int) -> None: ...

    def begin_drain(self) -> None:
        """Stop claiming and hand leases back; returns at once. Idempotent."""
        ...

    def nudge(self, task_id: str) -> None: ...

    def wake(self) -> None: ...


# --- exits and breakers ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ProxyLease:
    """One third-party exit for one task, from extraction to the last byte. ``url`` holds credentials: never logged."""

    id: str
    url: str
    country: str | None = None


class ProxyPool(Protocol):
    async def lease(self, task_id: str, site: str, *, attempt: int) -> ProxyLease | None:
        """None when this site's policy is to go directly."""
        ...

    async def report(self, lease: ProxyLease, site: str, *, succeeded: bool, blamed: bool) -> None: ...


class Breaker(Protocol):
    """Per site × exit. Fed by upstream faults only."""

    def check(self, key: str) -> None:
        """Raise ``BreakerOpen`` with ``retry_after_seconds``, or take a half-open probe permit."""
        ...

    def record(self, key: str, *, succeeded: bool) -> None: ...

    def states(self) -> Mapping[str, str]: ...
