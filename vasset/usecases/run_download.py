"""Execute one claimed task: lease → exit → extraction → bytes → post-processing → publish → row → terminal frame.

Every write carries the lease's fence. Whoever loses the lease stops without writing; whatever is unfinished stays in the workspace for
the next execution. The only step that is never interrupted is publish-and-complete: there the row, under the fence, decides.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from vasset.domain.download import Intent, Lease, Phase, Task, TaskFailure, TaskStatus
from vasset.domain.errors import (
    BreakerOpen,
    DiskFull,
    DiskPressure,
    LeaseLost,
    NotFound,
    StorageFailed,
    TaskError,
    Unavailable,
    VAssetError,
)
from vasset.domain.faults import MAX_WAIT_SECONDS, Retry, kind_of
from vasset.domain.history import PublishedFile
from vasset.domain.media import Extraction
from vasset.domain.ports import (
    Breaker,
    Clock,
    ExtractionRequest,
    Extractor,
    Fetcher,
    ProgressBus,
    ProxyLease,
    ProxyPool,
    Storage,
    TaskStore,
)
from vasset.domain.progress import ProgressFrame, Waiting
from vasset.domain.retry import RetryPolicy
from vasset.telemetry import faultpoint
from vasset.usecases.acquire_media import AcquiredMedia, Acquisition, Gate
from vasset.usecases.bound_attempt import AttemptBound, TurnIsOver, bounded
from vasset.usecases.hold_lease import HoldLease, Stop, uninterrupted
from vasset.usecases.site_key import site_of
from vasset.usecases.track_progress import ProgressTracker, retry_moment

Result = TypeVar("Result")
WRITTEN_BY_A_CHILD = frozenset({Phase.MERGING, Phase.POSTPROCESSING})


@dataclass(frozen=True, slots=True)
class DownloadBounds:
    lease_seconds: float = 60.0
    heartbeat_seconds: float = 5.0
    task_timeout_seconds: float = 1_800.0  # of one attempt, without progress
    task_turn_seconds: float = 21_600.0  # of one attempt, whatever its progress
    extraction_timeout_seconds: float = 60.0
    max_file_bytes: int = 64 * 2**30
    live_seconds: float = 14_400.0


@dataclass(frozen=True, slots=True)
class DownloadParts:
    """What every execution shares: one set per worker."""

    store: TaskStore
    storage: Storage
    extractor: Extractor
    fetcher: Fetcher
    bus: ProgressBus
    clock: Clock
    retry: RetryPolicy
    bounds: DownloadBounds
    extraction_gate: Gate
    postprocess_gate: Gate
    report_unexpected: Callable[[str, BaseException], None]
    proxies: ProxyPool | None = None
    breaker: Breaker | None = None
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


@dataclass(frozen=True, slots=True)
class Ended:
    """How an execution ended: the task's row afterwards, or None when this worker may not know (lease lost, SQL down)."""

    task: Task | None
    disk_pressure: bool = False


class RunDownload:
    """One execution. ``tick`` may be called at any time by the same event loop."""

    def __init__(self, parts: DownloadParts, lease: Lease) -> None:
        self.lease = lease
        self.task = lease.task
        self.site = site_of(lease.task.url)
        self._parts = parts
        self._started = parts.clock.monotonic()
        self._tracker = ProgressTracker(lease.task, lease.fence)
        self._acquisition: Acquisition | None = None
        self._keeper = HoldLease(
            parts.store,
            parts.clock,
            lease,
            lease_seconds=parts.bounds.lease_seconds,
            heartbeat_seconds=parts.bounds.heartbeat_seconds,
            on_finish=self._finish_recording,
            progress=self._progress,
        )
        self._bound: AttemptBound | None = None
        self._working: asyncio.Task[object] | None = None
        self._is_out_of_room = False

    @property
    def seconds(self) -> float:
        """Since the claim."""
        return self._parts.clock.monotonic() - self._started

    def nudge(self) -> None:
        self._keeper.nudge()

    def drain(self) -> None:
        self._keeper.drain()

    @property
    def is_written_by_a_child(self) -> bool:
        """Whether ffmpeg or yt-dlp writes now, whom no sink of ours holds back."""
        acquisition = self._acquisition
        return self._tracker.phase in WRITTEN_BY_A_CHILD or (acquisition is not None and acquisition.has_native)

    def run_out_of_room(self) -> bool:
        """Fail with ``DiskFull`` now; whether there was anything to stop."""
        if self._working is None or self._working.done() or self._is_out_of_room:
            return False
        self._is_out_of_room = True
        return self._working.cancel()

    def _progress(self) -> tuple[int, int | None]:
        self._observe()
        return self._tracker.downloaded_bytes, self._tracker.total_bytes

    def _observe(self) -> None:
        if self._acquisition is not None and (snapshot := self._acquisition.snapshot()) is not None:
            self._tracker.observe(snapshot)

    def _wait_for(self, waiting: Waiting | None) -> None:
        self._tracker.waiting = waiting

    def tick(self) -> ProgressFrame | None:
        """The next progress frame, None when nothing changed."""
        self._observe()
        return self._tracker.tick(self._parts.clock.now().timestamp())

    async def run(self) -> Ended:
        """Run to an end that is written down, or to one that another execution will find. Raises only ``CancelledError``."""
        try:
            outcome = await self._keeper.run(self._bounded())
        except LeaseLost:
            return Ended(None)
        except TurnIsOver:
            return await self._settle(self._give_back)
        except DiskPressure:
            return await self._settle(self._give_back, disk_pressure=True)
        except DiskFull as error:
            # Before any row is written: the database may be on this very disk, and everybody else waits for the room.
            with contextlib.suppress(StorageFailed, OSError):
                await self._parts.storage.discard_workspace(self.task.id, fence=self.lease.fence)
            return await self._settle(partial(self._fail, error), disk_pressure=True)
        except VAssetError as error:
            return await self._settle(partial(self._fail, error))
        except Exception as error:
            self._parts.report_unexpected(self.task.id, error)
            unexpected = VAssetError("the download failed inside V-Asset; the log has the details", retryable=True)
            return await self._settle(partial(self._fail, unexpected))
        if isinstance(outcome, Task):
            return await self._finish(outcome)
        return await self._stop(outcome)

    # --- the work ---

    async def _bounded(self) -> Task:
        bounds, now = self._parts.bounds, asyncio.get_running_loop().time()
        self._bound = AttemptBound(bounds.task_timeout_seconds, bounds.task_turn_seconds, now)
        self._working = asyncio.current_task()
        try:
            return await bounded(self._work(), self._bound, look=self._so_far)
        except asyncio.CancelledError:
            if not self._is_out_of_room:
                raise
            if self._working is not None:
                self._working.uncancel()
            raise DiskFull("the disk is full: the file could not be made; delete files and retry") from None

    def _so_far(self) -> tuple[int, str]:
        snapshot = self._acquisition.snapshot() if self._acquisition is not None else None
        return snapshot.downloaded_bytes if snapshot is not None else 0, self._tracker.phase

    async def _work(self) -> Task:
        parts = self._parts
        workspace = parts.storage.workspace(self.task.id, self.lease.fence)
        if (file := parts.storage.published(self.task.id, self.lease.fence)) is not None:
            return await uninterrupted(self._record(file, self.task.duration_seconds))
        proxy = await self._lease_exit()
        key = f"{self.site}|{proxy.exit if proxy else 'direct'}"
        if parts.breaker is not None:
            parts.breaker.check(key)
        request = ExtractionRequest(
            url=self.task.url,
            quality=self.task.quality,
            container=self.task.container,
            task_id=self.task.id,
            workspace=workspace,
            proxy=proxy.url if proxy else None,
            timeout_seconds=parts.bounds.extraction_timeout_seconds,
            with_subtitles=self.task.with_subtitles,
        )
        try:
            media = await self._acquire(request)
        except BaseException as error:
            await self._report(proxy, key, error)
            raise
        await self._report(proxy, key, None)
        self._tracker.enter(Phase.FINALIZING)
        return await uninterrupted(self._publish(media))

    async def _acquire(self, request: ExtractionRequest) -> AcquiredMedia:
        parts = self._parts
        self._acquisition = Acquisition(
            extractor=parts.extractor,
            fetcher=parts.fetcher,
            storage=parts.storage,
            extraction_gate=parts.extraction_gate,
            postprocess_gate=parts.postprocess_gate,
            request=request,
            max_bytes=parts.bounds.max_file_bytes,
            on_phase=self._tracker.enter,
            live_seconds=parts.bounds.live_seconds,
            on_live=self._enter_recording,
            on_wait=self._wait_for,
            sleep=parts.sleep,
        )
        extraction = await self._acquisition.extract()
        self._tracker.title = self.task.title or extraction.title
        self._tracker.estimated_bytes = extraction.estimated_bytes
        await self._note(extraction)
        return await self._acquisition.complete(extraction)

    async def _note(self, extraction: Extraction) -> None:
        await self._persist(
            lambda: self._parts.store.record_extraction(
                self.lease,
                title=self.task.title or extraction.title,
                duration_seconds=extraction.duration_seconds,
                extractor_version=extraction.extractor_version,
                total_bytes=extraction.estimated_bytes,
                is_live=extraction.is_live,
            )
        )

    async def _enter_recording(self, extraction: Extraction) -> None:
        """A recording has a bound of its own, at which it becomes a file; the task's is for everything after it."""
        self._tracker.is_live = True
        await self._note(extraction)
        if self._bound is not None:
            self._bound.allow(asyncio.get_running_loop().time(), self._parts.bounds.live_seconds)

    def _finish_recording(self) -> None:
        if self._acquisition is not None:
            self._acquisition.finish()

    async def _publish(self, media: AcquiredMedia) -> Task:
        file = await self._parts.storage.publish(
            media.path, self.lease, title=self.task.title or media.title, ext=media.ext, digest=media.digest
        )
        faultpoint.reach("K10")
        return await self._record(file, media.duration_seconds)

    async def _record(self, file: PublishedFile, duration_seconds: float | None) -> Task:
        try:
            completed = await self._persist(
                lambda: self._parts.store.complete(self.lease, file, duration_seconds=duration_seconds)
            )
            faultpoint.reach("K11")
            return completed
        except LeaseLost:
            # Cancelled, or taken over. Whoever took the workspace over has the note in it, and so perhaps this very file in its row: it is
            # withdrawn only if the workspace is still ours.
            await self._parts.storage.discard_workspace(self.task.id, fence=self.lease.fence, withdraw=True)
            raise

    async def _lease_exit(self) -> ProxyLease | None:
        if self._parts.proxies is None:
            return None
        return await self._parts.proxies.lease(self.task.id, self.site, attempt=self.task.attempt)

    async def _report(self, proxy: ProxyLease | None, key: str, error: BaseException | None) -> None:
        """Tell breaker and pool; a user's mistake or our own disk is nobody's fault there."""
        kind = kind_of(error) if isinstance(error, TaskError) else None
        if self._parts.breaker is not None and (error is None or (kind is not None and kind.is_trouble)):
            self._parts.breaker.record(key, succeeded=error is None)
        if proxy is not None and self._parts.proxies is not None:
            blamed = kind is not None and kind.blames_exit
            await uninterrupted(self._parts.proxies.report(proxy, self.site, succeeded=error is None, blamed=blamed))

    # --- the end ---

    async def _stop(self, stop: Stop) -> Ended:
        if stop is Stop.LOST:
            return Ended(None)
        if stop is Stop.DRAIN:
            return await self._settle(self._give_back)
        intent = Intent.CANCEL if stop is Stop.CANCEL else Intent.PAUSE
        return await self._settle(lambda: self._parts.store.stop(self.lease, intent))

    async def _give_back(self) -> Task:
        await self._parts.store.release(self.lease)
        return await self._parts.store.get(self.task.id, user_id=None)

    async def _fail(self, error: VAssetError) -> Task:
        kind, attempt = kind_of(error), max(1, self.task.attempt)
        retried = error.retryable or (kind.retry is Retry.ELSEWHERE and self._parts.proxies is not None)
        delay = self._parts.retry.delay_seconds(attempt) if retried else None
        if delay is not None:
            delay = max(delay, min(error.retry_after_seconds or 0.0, MAX_WAIT_SECONDS), kind.wait_before(attempt))
        failure = TaskFailure(error.reason, error.message, error.retryable, kind.name)
        return await self._parts.store.fail(self.lease, failure, retry_in_seconds=delay)

    async def _settle(self, write: Callable[[], Awaitable[Task]], *, disk_pressure: bool = False) -> Ended:
        try:
            with contextlib.suppress(Unavailable):  # the numbers are for people; the ending is written below
                await uninterrupted(self._keeper.beat())
            task = await uninterrupted(self._persist(write))
        except (LeaseLost, NotFound, Unavailable):
            return Ended(None, disk_pressure)  # somebody else owns it, or the reaper will
        ended = await self._finish(task)
        return Ended(ended.task, disk_pressure)

    async def _finish(self, task: Task) -> Ended:
        if task.status is TaskStatus.RUNNING:
            return Ended(task)  # given back and already claimed by somebody else
        phase = {
            TaskStatus.COMPLETED: Phase.COMPLETED,
            TaskStatus.FAILED: Phase.FAILED,
            TaskStatus.CANCELLED: Phase.CANCELLED,
            TaskStatus.PAUSED: Phase.PAUSED,
        }.get(task.status, Phase.QUEUED)
        now = self._parts.clock.now().timestamp()
        frame = self._tracker.ending(now, phase, task.failure, size_bytes=task.total_bytes, retry_at=retry_moment(task))
        with contextlib.suppress(Unavailable):  # watchers find the ending in SQL
            await self._parts.bus.publish([frame])
        if task.status.is_terminal:
            withdraw = task.status is not TaskStatus.COMPLETED
            await self._parts.storage.discard_workspace(task.id, fence=self.lease.fence, withdraw=withdraw)
        return Ended(task)

    async def _persist(self, write: Callable[[], Awaitable[Result]]) -> Result:
        """Repeat a fenced write while SQL does not answer, for as long as the lease can be ours."""
        clock = self._parts.clock
        until = clock.monotonic() + self._parts.bounds.lease_seconds
        pause_seconds = 0.1
        while True:
            try:
                return await write()
            except BreakerOpen:
                raise
            except Unavailable:
                if clock.monotonic() + pause_seconds >= until:
                    raise
                await asyncio.sleep(pause_seconds)
                pause_seconds = min(2.0, pause_seconds * 2)
