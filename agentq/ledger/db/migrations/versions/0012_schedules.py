"""Schedules, their changes, and the tick that started a workflow."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from agentq.ledger.db.types import UtcDateTime

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.add_column("agentq_workflows", sa.Column("scheduled_for", UtcDateTime(), nullable=True))
    op.create_table(
        "agentq_schedules",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant", sa.String(255), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("canvas", sa.Text(), nullable=False),
        sa.Column("terms", sa.Text(), nullable=True),
        sa.Column("cron", sa.String(100), nullable=True),
        sa.Column("every", sa.Integer(), nullable=True),
        sa.Column("timezone", sa.String(64), nullable=False),
        sa.Column("overlap", sa.String(16), nullable=False),
        sa.Column("catch_up", sa.Integer(), nullable=False),
        sa.Column("catch_up_window", sa.Float(), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("next_at", UtcDateTime(), nullable=False),
        sa.Column("since", UtcDateTime(), nullable=False),
        sa.Column("last_tick", UtcDateTime(), nullable=True),
        sa.Column("last_workflow_id", sa.Uuid(), nullable=True),
        sa.Column("owed_for", UtcDateTime(), nullable=True),
        sa.Column("started", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("missed", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("skipped", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("paused_at", UtcDateTime(), nullable=True),
        sa.Column("paused_until", UtcDateTime(), nullable=True),
        sa.Column("paused_by", sa.String(255), nullable=True),
        sa.Column("pause_reason", sa.Text(), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.CheckConstraint("(cron IS NULL) <> (every IS NULL)", name=op.f("ck_agentq_schedules_has_times")),
        sa.CheckConstraint("next_at > since", name=op.f("ck_agentq_schedules_goes_forward")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_agentq_schedules")),
    )
    op.create_index("uq_agentq_schedules_name", "agentq_schedules", ["name", "tenant"], unique=True)
    _partial_index("ix_agentq_schedules_due", ["next_at", "id"], "paused_at IS NULL")
    _partial_index("ix_agentq_schedules_paused", ["paused_until"], "paused_until IS NOT NULL")
    _partial_index("ix_agentq_schedules_owed", ["owed_for", "id"], "owed_for IS NOT NULL")
    op.create_table(
        "agentq_schedule_changes",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant", sa.String(255), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("action", sa.String(16), nullable=False),
        sa.Column("details", sa.Text(), nullable=True),
        sa.Column("until", UtcDateTime(), nullable=True),
        sa.Column("actor", sa.String(255), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_agentq_schedule_changes")),
    )
    op.create_index("ix_agentq_schedule_changes_name", "agentq_schedule_changes", ["name", "tenant", "id"])


def downgrade() -> None:
    op.drop_table("agentq_schedule_changes")
    op.drop_table("agentq_schedules")
    op.drop_column("agentq_workflows", "scheduled_for")


def _partial_index(name: str, columns: list[str], where: str) -> None:
    condition = sa.text(where)
    op.create_index(name, "agentq_schedules", columns, postgresql_where=condition, sqlite_where=condition)
