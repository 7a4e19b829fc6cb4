"""When a failed task runs again: 1 s → 30 s, exponential with full jitter, three retries (REQUIREMENTS C3, G)."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    max_retries: int = 3
    initial_seconds: float = 1.0
    max_seconds: float = 30.0

    def delay_seconds(self, attempt: int, *, chance: random.Random | None = None) -> float | None:
        """Seconds until attempt ``attempt + 1``, or None when ``attempt`` (from 1) was the last one.

        Full jitter over the upper half of the exponential step, so that the first second is never skipped.
        """
        if attempt > self.max_retries:
            return None
        ceiling: float = min(self.max_seconds, self.initial_seconds * 2 ** (attempt - 1))
        share = chance.random() if chance else random.random()
        return ceiling * (0.5 + 0.5 * share)
