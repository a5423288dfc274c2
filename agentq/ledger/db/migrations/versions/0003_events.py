"""The events that steps record while they run."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from agentq.ledger.db.types import UtcDateTime

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "agentq_events",
        sa.Column("workflow_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=64), nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.CheckConstraint("number > 0", name=op.f("ck_agentq_events_number_positive")),
        sa.ForeignKeyConstraint(
            ["workflow_id"],
            ["agentq_workflows.id"],
            name=op.f("fk_agentq_events_workflow_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["job_id"], ["agentq_jobs.id"], name=op.f("fk_agentq_events_job_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("workflow_id", "number", name=op.f("pk_agentq_events")),
    )
    op.create_index("ix_agentq_events_job", "agentq_events", ["job_id"])


def downgrade() -> None:
    op.drop_table("agentq_events")
