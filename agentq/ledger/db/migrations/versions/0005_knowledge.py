"""The knowledge of each worker: its queues, steps and plain tasks."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("agentq_workers", sa.Column("knows", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("agentq_workers", "knows")
