"""What the machine is doing, read when Prometheus asks."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

NAMES = ("cpu_usage_percent", "memory_usage_percent", "disk_usage_percent", "disk_free_bytes", "network_bandwidth")


class Machine(Collector):
    """CPU and network are rates since the previous scrape. A folder that is gone reports no disk rather than a wrong one."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        psutil.cpu_percent()  # the first call only starts the measurement
        self._network = (time.monotonic(), *self._counters())

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily("cpu_usage_percent", "CPU of the machine in use.", psutil.cpu_percent())
        yield GaugeMetricFamily(
            "memory_usage_percent", "Memory of the machine in use.", psutil.virtual_memory().percent
        )
        with contextlib.suppress(OSError):
            disk = psutil.disk_usage(str(self._data_dir))
            yield GaugeMetricFamily("disk_usage_percent", "The data folder's disk in use.", disk.percent)
            yield GaugeMetricFamily("disk_free_bytes", "What the data folder's disk has room for.", disk.free)
        yield self._bandwidth()

    def describe(self) -> Iterator[Metric]:
        """Names only: registering must not measure anything."""
        for name in NAMES:
            yield GaugeMetricFamily(name, "")

    def _bandwidth(self) -> Metric:
        then, received_then, sent_then = self._network
        now, (received, sent) = time.monotonic(), self._counters()
        self._network = (now, received, sent)
        seconds = max(now - then, 0.001)
        family = GaugeMetricFamily("network_bandwidth", "Bytes a second of the machine.", labels=["direction"])
        family.add_metric(["received"], max(0, received - received_then) / seconds)
        family.add_metric(["sent"], max(0, sent - sent_then) / seconds)
        return family

    @staticmethod
    def _counters() -> tuple[int, int]:
        counters = psutil.net_io_counters()
        return (counters.bytes_recv, counters.bytes_sent) if counters else (0, 0)
