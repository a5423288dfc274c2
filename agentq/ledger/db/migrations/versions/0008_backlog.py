"""Backlogs: caps of the open workflows of a tenant, and of the jobs of a step that wait; changes of tenants."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from agentq.ledger.db.types import UtcDateTime

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.add_column("agentq_jobs", sa.Column("is_counted", sa.Boolean(), server_default=sa.false(), nullable=False))
    _partial_index(
        "ix_agentq_jobs_backlog",
        "agentq_jobs",
        ["step", "created_at"],
        "is_counted AND status IN ('blocked', 'queued', 'scheduled') "
        "AND (blocked_by IS NULL OR blocked_by <> 'backlog')",
    )
    op.add_column("agentq_workflows", sa.Column("caps", sa.Text(), nullable=True))
    op.add_column("agentq_workflows", sa.Column("postponed_on", sa.Text(), nullable=True))
    op.add_column("agentq_workflows", sa.Column("max_open", sa.Integer(), nullable=True))
    op.add_column("agentq_workflows", sa.Column("max_backlog", sa.Integer(), nullable=True))
    _partial_index(
        "ix_agentq_workflows_open",
        "agentq_workflows",
        ["tenant", "created_at"],
        "status = 'running' AND postponed_on IS NULL",
    )
    _partial_index(
        "ix_agentq_workflows_postponed",
        "agentq_workflows",
        ["postponed_on", "created_at", "id"],
        "postponed_on IS NOT NULL AND status = 'running'",
    )
    op.add_column("agentq_tenants", sa.Column("max_open", sa.Integer(), nullable=True))
    op.create_table(
        "agentq_tenant_changes",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant", sa.String(255), nullable=False),
        sa.Column("before", sa.Integer(), nullable=True),
        sa.Column("after", sa.Integer(), nullable=True),
        sa.Column("weight_before", sa.Float(), nullable=True),
        sa.Column("weight_after", sa.Float(), nullable=True),
        sa.Column("actor", sa.String(255), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_agentq_tenant_changes")),
    )
    op.create_index("ix_agentq_tenant_changes_tenant", "agentq_tenant_changes", ["tenant", "id"])


def downgrade() -> None:
    op.drop_table("agentq_tenant_changes")
    op.drop_column("agentq_tenants", "max_open")
    op.drop_index("ix_agentq_workflows_postponed", "agentq_workflows")
    op.drop_index("ix_agentq_workflows_open", "agentq_workflows")
    for name in ("max_backlog", "max_open", "postponed_on", "caps"):
        op.drop_column("agentq_workflows", name)
    op.drop_index("ix_agentq_jobs_backlog", "agentq_jobs")
    op.drop_column("agentq_jobs", "is_counted")


def _partial_index(name: str, table: str, columns: list[str], where: str) -> None:
    condition = sa.text(where)
    op.create_index(name, table, columns, postgresql_where=condition, sqlite_where=condition)
