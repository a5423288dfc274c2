"""The terms of a workflow: policies and parameters of its steps, for a worker that does not have their code."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.add_column("agentq_workflows", sa.Column("terms", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("agentq_workflows", "terms")
