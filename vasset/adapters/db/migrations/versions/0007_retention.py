"""Indexes by age, so that the janitor finds what is to go without looking at what stays."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

INDEXES = (
    ("spent_tokens", "ix_spent_tokens_spent_at", "spent_at", None),
    ("user_sessions", "ix_user_sessions_expires_at", "expires_at", None),
    ("user_sessions", "ix_user_sessions_revoked", "revoked_at", "revoked_at IS NOT NULL"),
    (
        "download_history",
        "ix_download_history_deleted",
        "deleted_at",
        "deleted_at IS NOT NULL AND coalesce(file_path, '') = ''",
    ),
)


def upgrade() -> None:
    for table, name, column, condition in INDEXES:
        where = None if condition is None else sa.text(condition)
        op.create_index(name, table, [column], sqlite_where=where, postgresql_where=where)
    op.drop_index("ix_quota_ledger_user_id_day", "quota_ledger")
    op.create_index("ix_quota_ledger_day_user_id", "quota_ledger", ["day", "user_id"])


def downgrade() -> None:
    op.drop_index("ix_quota_ledger_day_user_id", "quota_ledger")
    op.create_index("ix_quota_ledger_user_id_day", "quota_ledger", ["user_id", "day"])
    for table, name, _, _ in INDEXES:
        op.drop_index(name, table)
