"""What each service holds when nothing happens, and how long it takes from its start to its first ready answer."""

from __future__ import annotations

import signal
import time

from benchmarks.cluster.record import Figure
from benchmarks.cluster.running import Measured

ROLES = ("gateway", "auth", "parser", "downloader", "asset")
SETTLE_SECONDS = 5.0
START_SECONDS = 60.0


def measure(measured: Measured, *, rounds: int) -> list[Figure]:
    """Each role is stopped and started while the others stay, as in a rolling update."""
    ready: dict[str, list[float]] = {name: [] for name in ROLES}
    for _ in range(rounds):
        for name in ROLES:
            ready[name].append(_restart(measured, name))
    time.sleep(SETTLE_SECONDS)
    figures = []
    for name in ROLES:
        own, children = measured.resident_mib(name)
        figures.append(Figure(f"{name}: idle memory", "MiB", (own,), 90.0))
        if children:
            figures.append(Figure(f"{name}: idle memory of its warm children", "MiB", (children,)))
        note = "pages that several processes share counted once in all"
        figures.append(Figure(f"{name}: idle memory it adds to the machine, children included", "MiB",
                              (measured.unshared_mib([name]),), note=note))  # fmt: skip
        figures.append(Figure(f"{name}: start until ready", "s", tuple(ready[name]), 2.5))
    return figures


def _restart(measured: Measured, name: str) -> float:
    role = measured.cluster.roles[name]
    role.signal(signal.SIGTERM)
    role.wait()
    started = time.monotonic()
    role.start()
    role.wait_ready(started + START_SECONDS)
    return time.monotonic() - started
