"""Prometheus finds the names of REQUIREMENTS I1, and no label can grow without bound."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from vasset.adapters.cache.counted import CountedCache
from vasset.adapters.cache.memory import MemoryCache
from vasset.bootstrap.measuring import sampling_quota
from vasset.domain.download import Mode, TaskStatus
from vasset.domain.errors import DependencyDown
from vasset.telemetry.machine import Machine
from vasset.telemetry.metrics import Metrics
from vasset.telemetry.sampling import sample_forever

REQUIRED = {
    "download_task_total", "download_task_success_rate", "active_download_count", "user_quota_usage", "cpu_usage_percent",
    "memory_usage_percent", "disk_usage_percent", "disk_free_bytes", "network_bandwidth", "database_connection_pool", "redis_hit_rate",
    "rabbitmq_queue_depth",
}  # fmt: skip
LABELS = {"mode", "status", "state", "direction", "result", "le"}


@pytest.fixture
def metrics(tmp_path: Path) -> Metrics:
    metrics = Metrics(registry=CollectorRegistry())
    metrics.watch_machine(Machine(tmp_path))
    metrics.watch_pool(lambda: {"in_use": 2, "idle": 1, "limit": 5})
    metrics.watch_active(lambda: 3)
    return metrics


def read(metrics: Metrics) -> dict[str, float]:
    """``name{label=value}`` → value."""
    found = {}
    for family in text_string_to_metric_families(generate_latest(metrics.registry).decode()):
        for sample in family.samples:
            labels = ",".join(sorted(sample.labels.values()))
            found[sample.name + (f"{{{labels}}}" if labels else "")] = sample.value
            assert set(sample.labels) <= LABELS
    return found


def test_every_required_name_is_exposed(metrics: Metrics) -> None:
    metrics.task_ended(Mode.QUICK, TaskStatus.COMPLETED, seconds=1.0, size_bytes=10)
    names = {name.partition("{")[0] for name in read(metrics)}
    assert names >= REQUIRED


def test_the_success_rate_counts_what_ended_for_good(metrics: Metrics) -> None:
    assert read(metrics)["download_task_success_rate"] == 1.0
    for status in (
        TaskStatus.COMPLETED,
        TaskStatus.FAILED,
        TaskStatus.RETRY,
        TaskStatus.CANCELLED,
        TaskStatus.COMPLETED,
    ):
        metrics.task_ended(Mode.QUICK, status, seconds=1.0, size_bytes=5)
    found = read(metrics)
    assert found["download_task_success_rate"] == pytest.approx(2 / 3)
    assert found["download_task_total{completed,quick_download}"] == 2
    assert found["download_bytes_total"] == 10


def test_gauges_are_read_when_asked(metrics: Metrics) -> None:
    found = read(metrics)
    assert found["active_download_count"] == 3
    assert found["database_connection_pool{in_use}"] == 2
    assert 0 <= found["disk_usage_percent"] <= 100
    assert found["disk_free_bytes"] > 0


def test_a_data_folder_that_is_gone_reports_no_disk(tmp_path: Path) -> None:
    metrics = Metrics(registry=CollectorRegistry())
    metrics.watch_machine(Machine(tmp_path / "gone"))
    assert not {"disk_usage_percent", "disk_free_bytes"} & set(read(metrics))


async def test_cache_reads_make_the_hit_rate(metrics: Metrics) -> None:
    cache = CountedCache(MemoryCache(), metrics.cache_read)
    await cache.set("a", b"1", ttl_seconds=60)
    for key in ("a", "b", "a", "a"):
        await cache.get(key)
    assert read(metrics)["redis_hit_rate"] == 0.75


async def test_sampling_outlives_a_server_that_is_down(metrics: Metrics) -> None:
    """The second round is the proof that the first one's failure did not end it."""
    rounds = asyncio.Event()
    asked = 0

    async def backlog() -> int:
        nonlocal asked
        asked += 1
        if asked == 1:
            raise DependencyDown()
        rounds.set()
        return 7

    async def depth() -> int | None:
        raise DependencyDown()

    async def usage() -> float:
        return 0.5

    sampler = asyncio.create_task(
        sample_forever(metrics, depth=depth, backlog=backlog, quota_usage=usage, interval_seconds=0)
    )
    await asyncio.wait_for(rounds.wait(), 10)
    await asyncio.sleep(0)
    sampler.cancel()
    await asyncio.gather(sampler, return_exceptions=True)
    found = read(metrics)
    assert found["outbox_backlog"] == 7
    assert found["user_quota_usage"] == 0.5


async def test_sampling_ends_although_a_driver_swallows_a_cancellation() -> None:
    """Python 3.11's ``wait_for`` does; the service around it then never ended."""
    asked, swallowed = asyncio.Event(), asyncio.Event()

    async def usage() -> float:
        asked.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if swallowed.is_set():
                raise
            swallowed.set()
        return 0.0

    async with asyncio.timeout(10):
        async with sampling_quota(usage):
            await asked.wait()
    assert swallowed.is_set()
