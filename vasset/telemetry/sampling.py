"""Gauges that need a question to another server, asked every few seconds whoever scrapes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from vasset.domain.download import TaskStatus
from vasset.domain.errors import Unavailable
from vasset.telemetry.metrics import Metrics

INTERVAL_SECONDS = 5.0


async def sample_forever(
    metrics: Metrics,
    *,
    depth: Callable[[], Awaitable[int | None]] | None = None,
    backlog: Callable[[], Awaitable[int]] | None = None,
    by_status: Callable[[], Awaitable[Mapping[TaskStatus, int]]] | None = None,
    quota_usage: Callable[[], Awaitable[float]] | None = None,
    interval_seconds: float = INTERVAL_SECONDS,
) -> None:
    """Run until cancelled. A server that does not answer leaves the last value standing."""
    while True:
        if backlog is not None:
            await _try(_queue(metrics, depth, backlog))
        if by_status is not None:
            await _try(_tasks(metrics, by_status))
        if quota_usage is not None:
            await _try(_quota(metrics, quota_usage))
        await asyncio.sleep(interval_seconds)


async def _queue(
    metrics: Metrics, depth: Callable[[], Awaitable[int | None]] | None, backlog: Callable[[], Awaitable[int]]
) -> None:
    waiting: int | None = None
    if depth is not None:
        try:
            waiting = await depth()
        except Unavailable:
            waiting = None
    metrics.queue_sampled(depth=waiting, outbox_backlog=await backlog())


async def _tasks(metrics: Metrics, by_status: Callable[[], Awaitable[Mapping[TaskStatus, int]]]) -> None:
    metrics.tasks_sampled(await by_status())


async def _quota(metrics: Metrics, usage: Callable[[], Awaitable[float]]) -> None:
    metrics.quota_sampled(await usage())


async def _try(sample: Awaitable[None]) -> None:
    try:
        await sample
    except Unavailable:
        return
