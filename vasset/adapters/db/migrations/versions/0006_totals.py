"""Keep what is counted, and give every search an index that its statement really uses.

Before, an account with 100,000 downloads paid for them at each look at its list and at each submission. ``sql/totals_v1.*.sql`` keep
the counts in the transaction that changes them. On SQLite a later migration that copies ``tasks`` or ``download_history``
(``batch_alter_table``) loses their triggers and has to run the file again.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from vasset.adapters.db.sql import script

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

CLAIMABLE = "status IN ('queued', 'retry')"
UNFINISHED = "status IN ('queued', 'retry', 'running', 'paused')"
STATUSES = ("queued", "running", "retry", "paused", "completed", "failed", "cancelled")
TERMINAL = ("completed", "failed", "cancelled")
INDEXES = (
    ("tasks", "ix_tasks_shown", ["user_id", "created_at", "history_id"], "deleted_at IS NULL"),
    ("tasks", "ix_tasks_shown_by_status", ["user_id", "status", "created_at", "history_id"], "deleted_at IS NULL"),
    ("tasks", "ix_tasks_claimable", ["user_id", "history_id"], CLAIMABLE),
    ("tasks", "ix_tasks_in_line", ["created_at", "history_id"], CLAIMABLE),
    ("tasks", "ix_tasks_running", ["created_at"], "status = 'running'"),
    ("tasks", "ix_tasks_postponed", ["not_before"], f"{CLAIMABLE} AND not_before IS NOT NULL"),
    ("tasks", "ix_tasks_unnoticed", ["woken_at"], f"{CLAIMABLE} AND not_before IS NULL"),
    (
        "tasks",
        "ix_tasks_dead",
        ["updated_at"],
        "status = 'failed' AND deleted_at IS NULL AND (dismissed_fence IS NULL OR dismissed_fence != fence)",
    ),
    ("download_history", "ix_download_history_shown", ["user_id", "id"], "deleted_at IS NULL"),
    (
        "download_history",
        "ix_download_history_expiring",
        ["expire_at", "id"],
        "file_path IS NOT NULL AND mode = 'quick_download' AND expire_at IS NOT NULL",
    ),
    ("download_history", "ix_download_history_removing", ["id"], "file_path IS NOT NULL AND removing"),
    (
        "download_history",
        "ix_download_history_misplaced",
        ["id"],
        "mode = 'archive_download' AND NOT removing AND substr(file_path, 1, 4) = 'tmp/'",
    ),
    ("user_totals", "ix_user_totals_turn", ["running", "first_waiting"], "first_waiting IS NOT NULL"),
)


def upgrade() -> None:
    is_postgresql = op.get_bind().dialect.name == "postgresql"
    identifier = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    counts = [*STATUSES, *(f"hidden_{status}" for status in TERMINAL)]
    op.create_table(
        "user_totals",
        sa.Column("user_id", identifier, nullable=False, autoincrement=False),
        *(sa.Column(name, sa.Integer(), nullable=False, server_default=sa.text("0")) for name in counts),
        sa.Column("downloaded_bytes", sa.BigInteger(), nullable=False, server_default=sa.text("0")),
        sa.Column("stored_bytes", sa.BigInteger(), nullable=False, server_default=sa.text("0")),
        sa.Column("completed_day", sa.Date(), nullable=True),
        sa.Column("completed_that_day", sa.Integer(), nullable=False, server_default=sa.text("0")),
        sa.Column("first_waiting", identifier, nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_user_totals_user_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("user_id", name="pk_user_totals"),
    )
    op.drop_index("ix_tasks_user_id_created_at", "tasks")
    op.drop_index("ix_tasks_unfinished", "tasks")
    op.drop_index("ix_download_history_user_id_id", "download_history")
    op.drop_index("ix_download_history_expire_at", "download_history")
    for table, name, columns, where in INDEXES:
        op.create_index(name, table, columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where))
    if is_postgresql:
        op.execute(_count_all("(completed_at AT TIME ZONE 'UTC')::date", "(now() AT TIME ZONE 'UTC')::date"))
    else:
        op.execute(_count_all("date(completed_at)", "date('now')"))
    for statement in script(f"totals_v1.{op.get_bind().dialect.name}.sql"):
        op.execute(statement)
    if is_postgresql:
        op.execute("DROP FUNCTION submit_quickly")
        for statement in script("submit_v2.sql"):
            op.execute(statement)


def downgrade() -> None:
    triggers = ["count_new_task", "count_changed_task"]
    if op.get_bind().dialect.name == "postgresql":
        for trigger in triggers:
            op.execute(f"DROP TRIGGER {trigger} ON tasks")
        op.execute("DROP TRIGGER count_file ON download_history")
        op.execute("DROP FUNCTION count_task_v1")
        op.execute("DROP FUNCTION count_file_v1")
        op.execute("DROP FUNCTION submit_v2")
        op.execute(script("submit_v1.sql")[0])
    else:
        for trigger in [*triggers, "count_removed_task", "count_new_file", "count_changed_file", "count_removed_file"]:
            op.execute(f"DROP TRIGGER {trigger}")
    for table, name, _, _ in INDEXES:
        op.drop_index(name, table)
    op.drop_table("user_totals")
    op.create_index("ix_download_history_expire_at", "download_history", ["expire_at"])
    op.create_index("ix_download_history_user_id_id", "download_history", ["user_id", "id"])
    op.create_index("ix_tasks_user_id_created_at", "tasks", ["user_id", "created_at"])
    unfinished = sa.text(UNFINISHED)
    op.create_index(
        "ix_tasks_unfinished",
        "tasks",
        ["status", "created_at"],
        sqlite_where=unfinished,
        postgresql_where=unfinished,
    )


def _count_all(completed_on: str, today: str) -> str:
    counts = [f"count(*) FILTER (WHERE status = '{status}')" for status in STATUSES]
    counts += [f"count(*) FILTER (WHERE status = '{status}' AND deleted_at IS NOT NULL)" for status in TERMINAL]
    hidden = ", ".join(f"hidden_{status}" for status in TERMINAL)
    return f"""
        INSERT INTO user_totals (user_id, {", ".join(STATUSES)}, {hidden}, downloaded_bytes, stored_bytes, completed_day,
          completed_that_day, first_waiting)
        SELECT user_id, {", ".join(counts)}, coalesce(sum(downloaded_bytes) FILTER (WHERE status = 'completed'), 0),
          (SELECT coalesce(sum(file_size), 0) FROM download_history AS theirs
            WHERE theirs.user_id = tasks.user_id AND theirs.file_path IS NOT NULL),
          {today}, count(*) FILTER (WHERE status = 'completed' AND {completed_on} = {today}),
          min(history_id) FILTER (WHERE {CLAIMABLE})
        FROM tasks GROUP BY user_id"""  # noqa: S608
