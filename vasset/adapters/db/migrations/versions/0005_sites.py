"""Remember a task's site, which a worker has only so many tasks of; let PostgreSQL accept a task in one call.

``quick_submission.py`` says why and what for. The function decides nothing that ``task_submission.py`` does not decide as well, and
answers no row where that has to. Whoever adds a column that a submission writes makes the next version of its file.
"""

from __future__ import annotations

from urllib.parse import urlsplit

import sqlalchemy as sa
from alembic import op

from vasset.adapters.db.sql import script

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("tasks", sa.Column("site", sa.String(255), nullable=False, server_default=sa.text("''")))
    tasks = sa.table("tasks", sa.column("id"), sa.column("url"), sa.column("site"), sa.column("status"))
    may_run_yet = sa.select(tasks.c.id, tasks.c.url).where(tasks.c.status != "completed")
    for task_id, url in op.get_bind().execute(may_run_yet).all():
        site = (urlsplit(url).hostname or "")[:255]
        op.get_bind().execute(sa.update(tasks).where(tasks.c.id == task_id).values(site=site))
    if op.get_bind().dialect.name == "postgresql":
        op.execute(script("submit_v1.sql")[0])


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION submit_quickly")
    with op.batch_alter_table("tasks") as tasks:
        tasks.drop_column("site")
