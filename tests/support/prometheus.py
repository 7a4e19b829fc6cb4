"""A role's ``/metrics`` as Prometheus reads it."""

from __future__ import annotations

from dataclasses import dataclass

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

# REQUIREMENTS I1
NAMES = frozenset({
    "download_task_total", "download_task_success_rate", "active_download_count", "user_quota_usage", "cpu_usage_percent",
    "memory_usage_percent", "disk_usage_percent", "network_bandwidth", "database_connection_pool", "redis_hit_rate",
    "rabbitmq_queue_depth",
})  # fmt: skip


@dataclass(frozen=True)
class Scraped:
    names: frozenset[str]
    labels: frozenset[tuple[str, str]]
    samples: dict[str, float]

    def total(self, name: str, **labels: str) -> float:
        """The sum over the samples that carry these labels."""
        wanted = [f'{key}="{value}"' for key, value in labels.items()]
        return sum(
            value
            for sample, value in self.samples.items()
            if sample.partition("{")[0] == name and all(label in sample for label in wanted)
        )


async def scrape(url: str) -> Scraped:
    async with aiohttp.ClientSession() as session, session.get(url + "/metrics") as answer:
        assert answer.status == 200, await answer.text()
        families = list(text_string_to_metric_families(await answer.text()))
    samples = [sample for family in families for sample in family.samples]
    names = {family.name + ("_total" if family.type == "counter" else "") for family in families}
    return Scraped(
        frozenset(names),
        frozenset(pair for sample in samples for pair in sample.labels.items()),
        {
            sample.name
            + "{"
            + ",".join(f'{key}="{value}"' for key, value in sorted(sample.labels.items()))
            + "}": sample.value
            for sample in samples
        },
    )
