"""Progress as people see it: phases and one bytes-weighted percentage that never goes back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vasset.domain.download import Phase

WAITING_REASONS = ("disk", "memory", "load", "site", "user", "slots", "turn")


@dataclass(frozen=True, slots=True)
class Waiting:
    """Why a download does not go on just now: one of ``WAITING_REASONS``, and the same in words for its user."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class ProgressFrame:
    """One message of ``progress:{task_id}``. Numbers, never strings; ``percent`` is None while the size is unknown.

    ``seq`` rises within a task, across attempts, workers and its user's wishes: it is ``fence * 1_000_000 + n``.
    """

    task_id: str
    user_id: int
    seq: int
    phase: Phase
    timestamp: float
    percent: float | None = None
    downloaded_bytes: int = 0
    total_bytes: int | None = None
    total_is_estimate: bool = False
    speed_bytes_per_second: float | None = None
    eta_seconds: float | None = None
    attempt: int = 1
    history_id: int | None = None
    title: str | None = None
    error: Mapping[str, Any] | None = None
    waiting_for: Mapping[str, str] | None = None  # ``reason`` and ``message`` of ``Waiting``
    is_live: bool = False  # a recording: it ends when its user says so, and has no total

    @property
    def is_terminal(self) -> bool:
        return self.phase in {Phase.COMPLETED, Phase.FAILED, Phase.CANCELLED}


SEQ_PER_FENCE = 1_000_000
