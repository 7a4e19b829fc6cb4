"""Connects the metrics of I1 with the objects that know their numbers. One ``Metrics`` per process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import cache
from typing import TYPE_CHECKING

from vasset.config import Settings
from vasset.domain.download import TaskStatus
from vasset.domain.ports import Breaker, Cache, Clock, Outbox, TaskQueue, TaskStore
from vasset.telemetry.machine import Machine
from vasset.telemetry.metrics import Metrics
from vasset.telemetry.sampling import sample_forever
from vasset.usecases.end_tasks import end_tasks
from vasset.usecases.quota_mirror import QuotaMirror

if TYPE_CHECKING:
    from vasset.adapters.db.database import Database
    from vasset.bootstrap.downloader import Downloader
    from vasset.usecases.run_download import Ended, RunDownload


@cache
def process_metrics() -> Metrics:
    return Metrics()


@cache
def watch_machine(settings: Settings) -> None:
    """Report CPU, memory, disk and network; once per process however often it is asked."""
    process_metrics().watch_machine(Machine(settings.data_dir))


def watch_database(database: Database) -> None:
    process_metrics().watch_pool(database.pool_usage)


def watch_breakers(breaker: Breaker) -> None:
    process_metrics().watch_breakers(breaker.states)


def end_counter(cache: Cache, clock: Clock) -> Callable[[RunDownload, Ended], None]:
    """What a worker calls when an execution is over: it is counted, and a unit that went back leaves the quota's mirror."""
    mirror, forgetting = QuotaMirror(cache, clock), set[asyncio.Task[None]]()

    def ended_by(run: RunDownload, ended: Ended) -> None:
        count_ended(run, ended)
        if ended.task is not None and ended.task.status in (TaskStatus.FAILED, TaskStatus.CANCELLED):
            task = asyncio.create_task(mirror.forget(ended.task.user_id), name="quota mirror")
            forgetting.add(task)
            task.add_done_callback(forgetting.discard)

    return ended_by


def count_ended(run: RunDownload, ended: Ended) -> None:
    """One execution is over; one whose lease was lost is counted by whoever took it over."""
    if ended.task is not None:
        process_metrics().task_ended(
            ended.task.mode, ended.task.status, seconds=run.seconds, size_bytes=ended.task.downloaded_bytes
        )


@asynccontextmanager
async def sampling_quota(usage: Callable[[], Awaitable[float]]) -> AsyncIterator[None]:
    """Sample the share of the quota that is used as long as the block runs."""
    sampling = asyncio.create_task(sample_forever(process_metrics(), quota_usage=usage), name="sampling")
    try:
        yield
    finally:
        await end_tasks([sampling])


@asynccontextmanager
async def measuring(
    settings: Settings,
    downloader: Downloader,
    store: TaskStore,
    outbox: Outbox,
    queue: TaskQueue,
    *,
    quota_usage: Callable[[], Awaitable[float]] | None = None,
) -> AsyncIterator[None]:
    """Sample what needs asking for as long as the block runs."""
    metrics = process_metrics()
    watch_machine(settings)
    metrics.watch_active(lambda: len(downloader.pool.runs()))
    metrics.watch_waiting(downloader.explainer.counts)
    metrics.watch_breakers(lambda: downloader.control.state().breakers)
    sampling = asyncio.create_task(
        sample_forever(
            metrics,
            depth=queue.depth,
            backlog=outbox.backlog,
            by_status=store.active_count,
            quota_usage=quota_usage,
        ),
        name="sampling",
    )
    try:
        yield
    finally:
        await end_tasks([sampling])
