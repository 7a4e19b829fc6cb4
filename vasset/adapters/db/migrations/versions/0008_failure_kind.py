"""Remember of what kind a task's failure was; a task's site is the key everything else uses, not its host.

A task that may still run gets the key again: otherwise one that waits from before is not counted among its site's.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from vasset.usecases.site_key import site_of

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("tasks", sa.Column("failure_kind", sa.String(64)))
    tasks = sa.table("tasks", sa.column("id"), sa.column("url"), sa.column("site"), sa.column("status"))
    may_run_yet = sa.select(tasks.c.id, tasks.c.url).where(tasks.c.status != "completed")
    for task_id, url in op.get_bind().execute(may_run_yet).all():
        op.get_bind().execute(sa.update(tasks).where(tasks.c.id == task_id).values(site=site_of(url)))


def downgrade() -> None:
    op.drop_column("tasks", "failure_kind")  # not by copying the table: its triggers would be lost (0006)
