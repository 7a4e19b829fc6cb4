"""A figure of the cluster: the platform's, with a direction and the PRD's floor beside the goal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.platform import record

RESULTS = Path(__file__).parent.parent / "results" / "cluster.json"
PACKAGES = ("grpcio", "asyncpg", "redis", "aio-pika")


@dataclass(frozen=True, slots=True)
class Figure(record.Figure):
    """``goal`` is a lower bound when ``at_least``; ``prd`` is what the PRD asks, where it asks anything."""

    at_least: bool = False
    prd: str = ""

    @property
    def is_met(self) -> bool | None:
        if self.goal is None:
            return None
        return self.median >= self.goal if self.at_least else self.median <= self.goal


def write(figures: Sequence[Figure], command: str, where: dict[str, Any]) -> None:
    record.write(figures, command, where, RESULTS)
