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


@dataclass(frozen=True, slots=True)
class KeepTimes:
    """How long rows stay after their last use."""

    idempotency_keys_seconds: float = 86_400
    spent_tokens_seconds: float = 7 * 86_400
    ended_sessions_seconds: float = 30 * 86_400
    ledger_seconds: float = 90 * 86_400
    deleted_seconds: float = 30 * 86_400
