"""One measured figure, and the file that keeps it with machine, versions and spread."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent.parent / "results" / "platform.json"
PACKAGES = (
    "fastapi",
    "starlette",
    "uvicorn",
    "uvloop",
    "httptools",
    "websockets",
    "pydantic",
    "sqlalchemy",
    "orjson",
)


@dataclass(frozen=True, slots=True)
class Figure:
    """``values`` are one per round; ``goal`` is an upper bound on their median, None where nothing was promised."""

    name: str
    unit: str
    values: tuple[float, ...]
    goal: float | None = None
    note: str = ""

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def is_met(self) -> bool | None:
        return None if self.goal is None else self.median <= self.goal

    def line(self) -> str:
        goal = "" if self.goal is None else f"   goal {self.goal:g} {'met' if self.is_met else 'MISSED'}"
        spread = f"{min(self.values):.3g}-{max(self.values):.3g}"
        return f"{self.name:58} {self.median:9.3g} {self.unit:10} ({spread}){goal}"


def machine(packages: Sequence[str] = PACKAGES) -> dict[str, Any]:
    cpu = next((line.partition(":")[2].strip() for line in _read("/proc/cpuinfo") if line.startswith("model name")), "")
    memory = next((int(line.split()[1]) for line in _read("/proc/meminfo") if line.startswith("MemTotal")), 0)
    return {
        "cpu": cpu or platform.processor(),
        "cores": os.cpu_count(),
        "memory_mib": memory // 1024,
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "packages": {name: version(name) for name in packages},
        "load_before": os.getloadavg()[0],
        "pace_ms": round(pace_ms(), 1),
    }


def pace_ms(rounds: int = 5) -> float:
    """What this machine takes at present to count to a million: two runs compare as their paces do. The best of the rounds."""
    best = float("inf")
    for _ in range(rounds):
        started, total = time.perf_counter(), 0
        for number in range(1_000_000):
            total += number
        best = min(best, time.perf_counter() - started)
    return 1000 * best


def write(figures: Sequence[Figure], command: str, where: dict[str, Any], path: Path = RESULTS) -> None:
    """Replace the file by this run; figures of other scripts in it are kept under their own names."""
    known: dict[str, Any] = json.loads(path.read_text())["figures"] if path.exists() else {}
    circumstances = {
        "command": command,
        "commit": commit(),
        "measured_at": time.strftime("%Y-%m-%d"),
        "load_before": where["load_before"],
        "pace_ms": where["pace_ms"],
    }
    for figure in figures:
        known[figure.name] = {**asdict(figure), "median": figure.median, "met": figure.is_met, **circumstances}
    path.parent.mkdir(exist_ok=True)
    run = {"machine": where, "commit": commit(), "measured_at": time.strftime("%Y-%m-%d"), "figures": known}
    path.write_text(json.dumps(run, indent=2, sort_keys=True) + "\n")


def commit() -> str:
    found = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return found.stdout.strip()


def _read(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []
