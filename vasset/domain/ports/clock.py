"""Time."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """Time, injectable. ``now`` is aware UTC; ``monotonic`` in seconds."""

    def now(self) -> datetime: ...

    def monotonic(self) -> float: ...
