"""Prometheus finds the names of REQUIREMENTS I1 at every process, and the numbers over all of them are those of what was done."""

from __future__ import annotations

import pytest

from tests.e2e.conftest import Service
from tests.support.deployments import RunningCluster
from tests.support.origin import Origin
from tests.support.prometheus import NAMES, Scraped, scrape

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(180)]


async def everywhere(service: Service) -> list[Scraped]:
    """The one process of the embedded form, or every role."""
    if isinstance(service.server, RunningCluster):
        return [await scrape(role.url) for role in service.server.cluster.roles.values()]
    return [await scrape(service.server.url)]


async def test_metrics_count_what_was_done(service: Service, origin: Origin) -> None:
    url = origin.url("progressive.mp4")
    before = await everywhere(service)
    for _ in range(2):
        assert (await service.user.call("POST", "/api/v1/parse", json={"url": url})).status == 200
    size = 0
    for _ in range(3):
        size += len((await service.user.completed(url, quality="best", format="original"))[1])
    after = await everywhere(service)

    def total(processes: list[Scraped], name: str, **labels: str) -> float:
        return sum(scraped.total(name, **labels) for scraped in processes)

    def risen(name: str, **labels: str) -> float:
        return total(after, name, **labels) - total(before, name, **labels)

    assert risen("download_task_total", mode="quick_download", status="completed") == 3
    assert risen("download_task_total") == 3
    assert risen("download_bytes_total") == size
    assert risen("download_task_seconds_count") == 3
    assert risen("cache_reads_total", result="hit") >= 1
    assert total(after, "active_download_count") == 0
    assert total(after, "database_connection_pool", state="limit") > 0
    for scraped in after:
        assert scraped.names >= NAMES
        assert scraped.total("download_task_success_rate") == 1
        assert 0 < scraped.total("memory_usage_percent") <= 100
        assert 0 < scraped.total("disk_usage_percent") <= 100


async def test_no_label_speaks_of_an_address_a_user_or_a_task(service: Service, origin: Origin) -> None:
    task, _ = await service.user.completed(origin.url("progressive.mp4"), quality="best", format="original")
    said = {value for scraped in await everywhere(service) for _, value in scraped.labels}
    assert not [value for value in said if task["task_id"] in value or origin.address in value or "@" in value]
