"""Prometheus finds the names of REQUIREMENTS I1 at the embedded server, and the numbers are those of what was done."""

from __future__ import annotations

import pytest

from tests.e2e.conftest import Service
from tests.support.origin import Origin
from tests.support.prometheus import NAMES, scrape

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(180)]


async def test_metrics_count_what_was_done(service: Service, origin: Origin) -> None:
    url = origin.url("progressive.mp4")
    before = await scrape(service.server.url)
    for _ in range(2):
        assert (await service.user.call("POST", "/api/v1/parse", json={"url": url})).status == 200
    size = 0
    for _ in range(3):
        size += len((await service.user.completed(url, quality="best", format="original"))[1])
    after = await scrape(service.server.url)
    assert after.names >= NAMES

    def risen(name: str, **labels: str) -> float:
        return after.total(name, **labels) - before.total(name, **labels)

    assert risen("download_task_total", mode="quick_download", status="completed") == 3
    assert risen("download_task_total") == 3
    assert risen("download_bytes_total") == size
    assert risen("download_task_seconds_count") == 3
    assert risen("cache_reads_total", result="hit") >= 1
    assert after.total("active_download_count") == 0
    assert after.total("download_task_success_rate") == 1
    assert 0 < after.total("memory_usage_percent") <= 100
    assert 0 < after.total("disk_usage_percent") <= 100
    assert after.total("database_connection_pool", state="limit") > 0


async def test_no_label_speaks_of_an_address_a_user_or_a_task(service: Service, origin: Origin) -> None:
    task, _ = await service.user.completed(origin.url("progressive.mp4"), quality="best", format="original")
    said = {value for _, value in (await scrape(service.server.url)).labels}
    assert not [value for value in said if task["task_id"] in value or origin.address in value or "@" in value]
