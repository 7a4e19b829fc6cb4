"""The operator's numbers, as far as they decide what a transaction writes. Apart, so that a role without SQL need not import SQLAlchemy."""

from __future__ import annotations

from dataclasses import dataclass, field

from vasset.domain.quota import QuotaPolicy
from vasset.domain.user import Role


@dataclass(frozen=True, slots=True)
class TaskPolicy:
    quota: QuotaPolicy = field(
        default_factory=lambda: QuotaPolicy({Role.FREE: 50, Role.PREMIUM: 500, Role.ADMIN: 10_000})
    )
    max_unfinished_tasks: int = 1_000
    refund_cancelled: bool = True
    quick_ttl_seconds: float = 86_400
    max_attempts: int = 4
