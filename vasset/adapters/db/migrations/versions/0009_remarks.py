"""Remember what a finished file lacks, and why its form is not the one that was asked for."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("tasks", sa.Column("remarks", sa.Text()))


def downgrade() -> None:
    op.drop_column("tasks", "remarks")  # not by copying the table: its triggers would be lost (0006)
