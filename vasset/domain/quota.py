"""Daily quota: one unit a task, counted by the database's UTC day, given back exactly once when a task fails for good."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from vasset.domain.user import Role


@dataclass(frozen=True, slots=True)
class Quota:
    daily_limit: int
    daily_used: int
    reset_at: datetime

    @property
    def remaining(self) -> int:
        return max(0, self.daily_limit - self.daily_used)


@dataclass(frozen=True, slots=True)
class QuotaPolicy:
    """Daily limit by user level; a role that is not named gets the limit of the highest named role below it."""

    daily_limits: Mapping[Role, int]

    def limit_for(self, role: Role) -> int:
        return self.daily_limits[max(named for named in self.daily_limits if named <= role)]
