"""Everything that runs downloads in one process, from settings: used by ``vasset serve`` and by the downloader role alike."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from vasset.adapters.storage.emergency import EmergencyReserve
from vasset.adapters.storage.local import LocalStorage
from vasset.config import Settings
from vasset.domain.download import Lease
from vasset.domain.ports import (
    Breaker,
    Clock,
    Extractor,
    Fetcher,
    FileStore,
    Outbox,
    ProgressBus,
    ProxyPool,
    Retention,
    TaskQueue,
    TaskStore,
)
from vasset.domain.retry import RetryPolicy
from vasset.usecases.end_tasks import end_tasks
from vasset.usecases.run_download import DownloadBounds, DownloadParts, Ended, RunDownload
from vasset.worker.admission import Admission, AdmissionBounds
from vasset.worker.consumer import Consumer
from vasset.worker.control import Control
from vasset.worker.disk_guard import DiskGuard
from vasset.worker.explainer import Explainer
from vasset.worker.janitor import Janitor, JanitorTimes
from vasset.worker.pool import Pool
from vasset.worker.relay import Relay
from vasset.worker.slots import Slots
from vasset.worker.ticker import Ticker

RESTART_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class DownloaderParts:
    """What a deployment chooses."""

    store: TaskStore
    outbox: Outbox
    files: FileStore
    retention: Retention
    queue: TaskQueue
    bus: ProgressBus
    storage: LocalStorage
    extractor: Extractor
    fetcher: Fetcher
    clock: Clock
    proxies: ProxyPool | None = None
    breaker: Breaker | None = None
    relieve: Callable[[], Awaitable[object]] | None = None


def worker_name() -> str:
    """Unique per process, readable in ``lease_owner``."""
    return f"{socket.gethostname()[:40]}-{os.getpid()}-{secrets.token_hex(3)}"


class Downloader:
    """Pool, consumer, ticker, relay and janitor of one process. ``start``, then ``drain`` once."""

    def __init__(
        self,
        settings: Settings,
        parts: DownloaderParts,
        *,
        report: Callable[[str, BaseException], None],
        on_ended: Callable[[RunDownload, Ended], None] = lambda run, ended: None,
    ) -> None:
        self._settings = settings
        self._report = report
        self._loops: list[asyncio.Task[None]] = []
        self._drained: asyncio.Task[None] | None = None
        postprocessing = Slots(settings.postprocess_slots)
        self.extraction_slots = Slots(settings.extraction_slots)
        running = DownloadParts(
            store=parts.store,
            storage=parts.storage,
            extractor=parts.extractor,
            fetcher=parts.fetcher,
            bus=parts.bus,
            clock=parts.clock,
            retry=RetryPolicy(max_retries=settings.max_retries),
            bounds=DownloadBounds(
                lease_seconds=settings.lease_seconds,
                heartbeat_seconds=settings.heartbeat_seconds,
                task_timeout_seconds=settings.task_timeout_seconds,
                task_turn_seconds=settings.task_turn_seconds,
                extraction_timeout_seconds=settings.extraction_timeout_seconds,
                max_file_bytes=settings.max_file_bytes,
                live_seconds=settings.live_max_seconds,
            ),
            extraction_gate=self.extraction_slots,
            postprocess_gate=postprocessing,
            report_unexpected=report,
            proxies=parts.proxies,
            breaker=parts.breaker,
        )

        def start(lease: Lease) -> RunDownload:
            return RunDownload(running, lease)

        self.admission = Admission(
            parts.storage,
            parts.clock,
            AdmissionBounds(
                disk_alert_percent=settings.disk_alert_percent,
                min_available_memory_mib=settings.min_available_memory_mib,
                max_load_per_core=settings.max_load_per_core,
            ),
        )
        self.pool = Pool(
            parts.store,
            start,
            self.admission,
            worker=settings.worker_name or worker_name(),
            slots=Slots(settings.worker_slots),
            lease_seconds=settings.lease_seconds,
            tasks_per_user=settings.tasks_per_user,
            tasks_per_site=settings.tasks_per_site,
            on_ended=on_ended,
        )
        self.relay = Relay(parts.outbox, parts.queue)
        self.control = Control(
            self.pool,
            extractor_version=lambda: parts.extractor.version,
            begin_drain=self.begin_drain,
            breaker=parts.breaker,
        )
        self._consumer = Consumer(parts.queue, self.pool)
        self.explainer = Explainer(parts.store, self.pool, parts.bus, parts.clock)
        self._ticker = Ticker(self.pool, parts.bus, hertz=settings.progress_hz)
        self._disk_guard = DiskGuard(
            parts.storage,
            self.pool,
            EmergencyReserve(parts.storage.root, settings.disk_emergency_bytes),
            relieve=parts.relieve,
        )
        self._janitor = Janitor(
            parts.store,
            parts.files,
            parts.storage,
            parts.storage.workspaces,
            parts.retention,
            parts.clock,
            times=JanitorTimes(
                reap_seconds=min(5.0, settings.lease_seconds / 4), clean_seconds=settings.janitor_interval_seconds
            ),
            clean_percent=settings.disk_clean_percent,
            relieve=parts.relieve,
            on_reaped=lambda task_ids: self.pool.wake(),
            report=report,
        )

    def start(self) -> None:
        for loop in (
            self.pool,
            self._consumer,
            self._ticker,
            self.relay,
            self._janitor,
            self._disk_guard,
            self.explainer,
        ):
            self._loops.append(asyncio.create_task(self._supervised(loop.run), name=type(loop).__name__.lower()))

    @property
    def works(self) -> bool:
        """Every loop runs: what readiness asks."""
        return bool(self._loops) and not any(loop.done() for loop in self._loops)

    def begin_drain(self) -> None:
        """Start :meth:`drain` and return; for operators."""
        if self._drained is None:
            self.pool.stop_claiming()  # now, so that whoever asked is told so
            self._drained = asyncio.create_task(self.pool.drain(self._settings.drain_seconds))

    async def drain(self) -> None:
        """Hand every lease back, then stop the loops."""
        self.begin_drain()
        assert self._drained is not None
        await self._drained
        await end_tasks(self._loops)

    async def _supervised(self, run: Callable[[], Awaitable[None]]) -> None:
        """A loop that dies of a defect is reported and started again; one defect must not stop the product."""
        while True:
            try:
                await run()
                return
            except Exception as error:
                self._report(f"running the {asyncio.current_task().get_name()}", error)  # type: ignore[union-attr]
            await asyncio.sleep(RESTART_SECONDS)
