"""The schema (REQUIREMENTS E2 and what the promises need), once, for SQLite and PostgreSQL.

Owners: auth writes ``users`` to ``invitations``; asset owns ``download_history``, ``user_quotas``, ``quota_ledger``; the downloader
owns ``tasks``, ``idempotency_keys``, ``outbox``. Submitting spans owners in one transaction on purpose (``ARCHITECTURE.md``).
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    false,
    text,
    true,
)

from vasset.adapters.db.types import Identifier, PlainText, UtcDateTime, Word
from vasset.domain.download import Intent, Mode, Phase, TaskStatus
from vasset.domain.media import Container

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# Conditions of partial indexes, for the statements that are to use them: SQLite does so only where the very same words stand in the
# statement, PostgreSQL in a prepared statement only where no parameter does.
CLAIMABLE = "status IN ('queued', 'retry')"
RUNNING = "status = 'running'"
DEAD = "status = 'failed' AND deleted_at IS NULL AND (dismissed_fence IS NULL OR dismissed_fence != fence)"
EXPIRING = "file_path IS NOT NULL AND mode = 'quick_download' AND expire_at IS NOT NULL"
REMOVING = "file_path IS NOT NULL AND removing"
REVOKED = "revoked_at IS NOT NULL"
DELETED = "deleted_at IS NOT NULL AND coalesce(file_path, '') = ''"  # else SQLite prefers the index of all paths
MISPLACED = "mode = 'archive_download' AND NOT removing AND substr(file_path, 1, 4) = 'tmp/'"


def _partial(name: str, *columns: str, where: str) -> Index:
    return Index(name, *columns, sqlite_where=text(where), postgresql_where=text(where))


def _count(name: str) -> Column[int]:
    return Column(name, Integer, nullable=False, server_default=text("0"))


# --- auth ------------------------------------------------------------------------------------------------------------

users = Table(
    "users",
    metadata,
    Column("id", Identifier, primary_key=True),
    Column("email", String(320), nullable=False, unique=True),
    Column("password_hash", String(128), nullable=False),
    Column("nickname", String(128), nullable=False),
    Column("role", Integer, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
)

# One row a session. ``token_hash`` is the head of its family of refresh tokens; the ones before it are in ``spent_tokens``.
user_sessions = Table(
    "user_sessions",
    metadata,
    Column("id", Identifier, primary_key=True),
    Column("user_id", Identifier, ForeignKey("users.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("token_hash", LargeBinary(32), nullable=False, unique=True),
    Column("expires_at", UtcDateTime, nullable=False, index=True),
    Column("created_at", UtcDateTime, nullable=False),
    Column("revoked_at", UtcDateTime),
    Column("user_agent", String(256)),
    _partial("ix_user_sessions_revoked", "revoked_at", where=REVOKED),
)

# ``nonce`` with the spent token itself gives its child again, so a repeat within the grace time gets the same answer
# although no token is ever stored: child = HMAC(parent, nonce).
spent_tokens = Table(
    "spent_tokens",
    metadata,
    Column("token_hash", LargeBinary(32), primary_key=True),
    Column("session_id", Identifier, ForeignKey("user_sessions.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("child_hash", LargeBinary(32), nullable=False),
    Column("nonce", LargeBinary(32), nullable=False),
    Column("spent_at", UtcDateTime, nullable=False, index=True),
)

invitations = Table(
    "invitations",
    metadata,
    Column("token_hash", LargeBinary(32), primary_key=True),
    Column("created_by", Identifier, ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
    Column("used_at", UtcDateTime),
    Column("used_by", Identifier, ForeignKey("users.id", ondelete="SET NULL")),
)

# Whoever inserts a name did the thing first: the race for the first account is one insert.
milestones = Table("milestones", metadata, Column("name", String(64), primary_key=True), Column("at", UtcDateTime))

# --- asset -----------------------------------------------------------------------------------------------------------

download_history = Table(
    "download_history",
    metadata,
    Column("id", Identifier, primary_key=True),
    Column("user_id", Identifier, ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    Column("task_id", String(36), nullable=False, unique=True),
    Column("url", PlainText, nullable=False),
    Column("title", PlainText),
    Column("mode", Word(Mode), nullable=False),
    Column("status", Word(TaskStatus), nullable=False),
    Column("file_path", PlainText, unique=True),
    Column("file_name", PlainText),
    Column("file_size", BigInteger),
    Column("file_hash", String(128)),
    Column("hash_algorithm", String(16)),
    Column("file_owner", String(128)),
    Column("duration_seconds", Float),
    Column("expire_at", UtcDateTime),
    Column("created_at", UtcDateTime, nullable=False),
    Column("completed_at", UtcDateTime),
    Column("deleted_at", UtcDateTime),
    Column("forgotten_reason", String(32)),
    # Set before the file is unlinked, so that neither ``keep`` nor a reader can come between.
    Column("removing", Boolean, nullable=False, server_default=false()),
    _partial("ix_download_history_shown", "user_id", "id", where="deleted_at IS NULL"),
    _partial("ix_download_history_expiring", "expire_at", "id", where=EXPIRING),
    _partial("ix_download_history_removing", "id", where=REMOVING),
    _partial("ix_download_history_misplaced", "id", where=MISPLACED),
    _partial("ix_download_history_deleted", "deleted_at", where=DELETED),
)

user_quotas = Table(
    "user_quotas",
    metadata,
    Column("id", Identifier, primary_key=True),
    Column("user_id", Identifier, ForeignKey("users.id", ondelete="CASCADE"), nullable=False, unique=True),
    Column("day", Date, nullable=False),
    Column("daily_limit", Integer, nullable=False),
    Column("daily_used", Integer, nullable=False),
    Column("reset_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    CheckConstraint("daily_used >= 0", name="daily_used"),
)

# ``n`` counts a task's debits (1, and one more at every retry by its user). The unique triple makes a debit or a refund
# happen once, however often it is replayed.
quota_ledger = Table(
    "quota_ledger",
    metadata,
    Column("id", Identifier, primary_key=True),
    Column("user_id", Identifier, nullable=False),
    Column("task_id", String(36), nullable=False),
    Column("kind", String(8), nullable=False),
    Column("n", Integer, nullable=False),
    Column("day", Date, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    CheckConstraint("kind IN ('debit', 'refund')", name="kind"),
    UniqueConstraint("task_id", "kind", "n"),
    Index("ix_quota_ledger_day_user_id", "day", "user_id"),
)

# --- downloader ------------------------------------------------------------------------------------------------------

tasks = Table(
    "tasks",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("user_id", Identifier, ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    Column(
        "history_id", Identifier, ForeignKey("download_history.id", ondelete="CASCADE"), nullable=False, unique=True
    ),
    Column("url", PlainText, nullable=False),
    Column("site", String(255), nullable=False, server_default=text("''")),
    Column("mode", Word(Mode), nullable=False),
    Column("quality", String(64), nullable=False),
    Column("container", Word(Container), nullable=False),
    Column("title", PlainText),
    Column("duration_seconds", Float),
    Column("status", Word(TaskStatus), nullable=False),
    Column("phase", Word(Phase), nullable=False),
    Column("intent", Word(Intent), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("fence", Integer, nullable=False),
    Column("lease_owner", String(128)),
    Column("lease_until", UtcDateTime),
    Column("not_before", UtcDateTime),
    Column("woken_at", UtcDateTime, nullable=False),
    Column("debits", Integer, nullable=False),
    Column("quota_day", Date, nullable=False),
    Column("downloaded_bytes", BigInteger, nullable=False),
    Column("total_bytes", BigInteger),
    Column("failure_reason", String(64)),
    Column("failure_kind", String(64)),
    Column("failure_message", PlainText),
    Column("failure_retryable", Boolean),
    Column("extractor_version", String(64)),
    Column("with_subtitles", Boolean, nullable=False, server_default=true()),
    Column("is_live", Boolean, nullable=False, server_default=false()),
    # The fence whose failure an operator has dealt with; a later failure has a higher one.
    Column("dismissed_fence", Integer),
    Column("started_at", UtcDateTime),
    Column("completed_at", UtcDateTime),
    Column("deleted_at", UtcDateTime),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    CheckConstraint("(status = 'running') = (lease_until IS NOT NULL)", name="lease"),
    _partial("ix_tasks_shown", "user_id", "created_at", "history_id", where="deleted_at IS NULL"),
    _partial("ix_tasks_shown_by_status", "user_id", "status", "created_at", "history_id", where="deleted_at IS NULL"),
    _partial("ix_tasks_claimable", "user_id", "history_id", where=CLAIMABLE),
    _partial("ix_tasks_in_line", "created_at", "history_id", where=CLAIMABLE),
    _partial("ix_tasks_running", "created_at", where=RUNNING),
    _partial("ix_tasks_postponed", "not_before", where=f"{CLAIMABLE} AND not_before IS NOT NULL"),
    _partial("ix_tasks_unnoticed", "woken_at", where=f"{CLAIMABLE} AND not_before IS NULL"),
    _partial("ix_tasks_dead", "updated_at", where=DEAD),
)

# What is counted is kept, never counted again: triggers (``sql/totals.*.sql``) change a user's row in the transaction that changes the
# task or the file. ``hidden_*`` are those of the status beside it that their user has deleted; ``first_waiting`` is the oldest
# ``history_id`` among the user's claimable tasks.
user_totals = Table(
    "user_totals",
    metadata,
    Column("user_id", Identifier, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    *(_count(status) for status in TaskStatus),
    *(_count(f"hidden_{status}") for status in TaskStatus if status.is_terminal),
    Column("downloaded_bytes", BigInteger, nullable=False, server_default=text("0")),
    Column("stored_bytes", BigInteger, nullable=False, server_default=text("0")),
    Column("completed_day", Date),
    _count("completed_that_day"),
    Column("first_waiting", Identifier),
    _partial("ix_user_totals_turn", "running", "first_waiting", where="first_waiting IS NOT NULL"),
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("user_id", Identifier, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Column("key", String(255), primary_key=True),
    Column("request_hash", LargeBinary(32), nullable=False),
    Column("task_id", String(36), nullable=False),
    Column("created_at", UtcDateTime, nullable=False, index=True),
)

outbox = Table(
    "outbox",
    metadata,
    Column("id", Identifier, primary_key=True),
    Column("routing_key", String(64), nullable=False),
    Column("task_id", String(36), nullable=False),
    Column("body", JSON, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    # A relay's claim; another relay may take the message once this has passed.
    Column("taken_until", UtcDateTime),
)
