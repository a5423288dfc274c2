"""The first schema: workflows, jobs, attempts, actions, workers."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from agentq.ledger.db.types import UtcDateTime

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "agentq_workers",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("hostname", sa.String(length=255), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("started_at", UtcDateTime(), nullable=False),
        sa.Column("seen_at", UtcDateTime(), nullable=False),
        sa.Column("lease_until", UtcDateTime(), nullable=False),
        sa.Column("stopped_at", UtcDateTime(), nullable=True),
        sa.Column("refused_messages", sa.Integer(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_agentq_workers")),
    )
    op.create_table(
        "agentq_workflows",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant", sa.String(length=255), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("key", sa.String(length=255), nullable=True),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("result_job_id", sa.Uuid(), nullable=False),
        sa.Column("failed_job_id", sa.Uuid(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("finished_at", UtcDateTime(), nullable=True),
        sa.CheckConstraint(
            "(finished_at IS NOT NULL) = (status IN ('cancelled', 'failed', 'succeeded'))",
            name=op.f("ck_agentq_workflows_finished_iff_final"),
        ),
        sa.CheckConstraint(
            "status IN ('cancelled', 'failed', 'running', 'succeeded')",
            name=op.f("ck_agentq_workflows_status_known"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_agentq_workflows")),
    )
    op.create_index("ix_agentq_workflows_status", "agentq_workflows", ["status", "id"], unique=False)
    op.create_index("ix_agentq_workflows_tenant", "agentq_workflows", ["tenant", "id"], unique=False)
    op.create_index(
        "uq_agentq_workflows_key",
        "agentq_workflows",
        ["tenant", "key"],
        unique=True,
        postgresql_where=sa.text("key IS NOT NULL"),
        sqlite_where=sa.text("key IS NOT NULL"),
    )
    op.create_table(
        "agentq_actions",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("workflow_id", sa.Uuid(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=True),
        sa.Column("action", sa.String(length=255), nullable=False),
        sa.Column("actor", sa.String(length=255), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["workflow_id"],
            ["agentq_workflows.id"],
            name=op.f("fk_agentq_actions_workflow_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_agentq_actions")),
    )
    op.create_index("ix_agentq_actions_workflow", "agentq_actions", ["workflow_id", "id"], unique=False)
    op.create_table(
        "agentq_jobs",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("workflow_id", sa.Uuid(), nullable=False),
        sa.Column("tenant", sa.String(length=255), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("step", sa.String(length=255), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("after_id", sa.Uuid(), nullable=True),
        sa.Column("join_id", sa.Uuid(), nullable=True),
        sa.Column("position", sa.Integer(), nullable=True),
        sa.Column("remaining", sa.Integer(), nullable=False),
        sa.Column("is_last", sa.Boolean(), nullable=False),
        sa.Column("is_plain", sa.Boolean(), nullable=False),
        sa.Column("arguments", sa.Text(), nullable=True),
        sa.Column("immutable", sa.Boolean(), nullable=False),
        sa.Column("queue", sa.String(length=255), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=True),
        sa.Column("timeout", sa.Double(), nullable=True),
        sa.Column("max_attempts", sa.Integer(), nullable=False),
        sa.Column("delay", sa.Double(), nullable=True),
        sa.Column("due_at", UtcDateTime(), nullable=True),
        sa.Column("expires_at", UtcDateTime(), nullable=True),
        sa.Column("dispatched_at", UtcDateTime(), nullable=True),
        sa.Column("dispatches", sa.Integer(), server_default="0", nullable=False),
        sa.Column("attempt", sa.Integer(), server_default="0", nullable=False),
        sa.Column("claim_token", sa.BigInteger(), nullable=True),
        sa.Column("worker_id", sa.Uuid(), nullable=True),
        sa.Column("started_at", UtcDateTime(), nullable=True),
        sa.Column("result", sa.Text(), nullable=True),
        sa.Column("error_category", sa.String(length=255), nullable=True),
        sa.Column("error_class", sa.String(length=255), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("finished_at", UtcDateTime(), nullable=True),
        sa.CheckConstraint(
            "(finished_at IS NOT NULL) = (status IN ('cancelled', 'failed', 'succeeded'))",
            name=op.f("ck_agentq_jobs_finished_iff_final"),
        ),
        sa.CheckConstraint(
            "(status = 'running') <= (worker_id IS NOT NULL)", name=op.f("ck_agentq_jobs_running_has_worker")
        ),
        sa.CheckConstraint("kind IN ('each', 'join', 'step', 'task')", name=op.f("ck_agentq_jobs_kind_known")),
        sa.CheckConstraint(
            "status IN ('cancelled', 'failed', 'queued', 'running', 'scheduled', 'succeeded', 'waiting')",
            name=op.f("ck_agentq_jobs_status_known"),
        ),
        sa.CheckConstraint(
            "attempt >= 0 AND attempt <= max_attempts", name=op.f("ck_agentq_jobs_attempts_bounded")
        ),
        sa.CheckConstraint("remaining >= 0", name=op.f("ck_agentq_jobs_remaining_counted")),
        sa.ForeignKeyConstraint(
            ["workflow_id"], ["agentq_workflows.id"], name=op.f("fk_agentq_jobs_workflow_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_agentq_jobs")),
    )
    op.create_index(
        "ix_agentq_jobs_after",
        "agentq_jobs",
        ["after_id"],
        unique=False,
        postgresql_where=sa.text("after_id IS NOT NULL"),
        sqlite_where=sa.text("after_id IS NOT NULL"),
    )
    op.create_index(
        "ix_agentq_jobs_due",
        "agentq_jobs",
        ["due_at"],
        unique=False,
        postgresql_where=sa.text("status = 'scheduled'"),
        sqlite_where=sa.text("status = 'scheduled'"),
    )
    op.create_index(
        "ix_agentq_jobs_expiring",
        "agentq_jobs",
        ["expires_at"],
        unique=False,
        postgresql_where=sa.text("expires_at IS NOT NULL AND finished_at IS NULL"),
        sqlite_where=sa.text("expires_at IS NOT NULL AND finished_at IS NULL"),
    )
    op.create_index(
        "ix_agentq_jobs_queued",
        "agentq_jobs",
        ["queue", "dispatched_at"],
        unique=False,
        postgresql_where=sa.text("status = 'queued'"),
        sqlite_where=sa.text("status = 'queued'"),
    )
    op.create_index(
        "ix_agentq_jobs_running",
        "agentq_jobs",
        ["worker_id"],
        unique=False,
        postgresql_where=sa.text("status = 'running'"),
        sqlite_where=sa.text("status = 'running'"),
    )
    op.create_index("ix_agentq_jobs_workflow", "agentq_jobs", ["workflow_id", "id"], unique=False)
    op.create_index(
        "uq_agentq_jobs_member",
        "agentq_jobs",
        ["join_id", "position"],
        unique=True,
        postgresql_where=sa.text("join_id IS NOT NULL"),
        sqlite_where=sa.text("join_id IS NOT NULL"),
    )
    op.create_table(
        "agentq_attempts",
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("outcome", sa.String(length=16), nullable=False),
        sa.Column("worker_id", sa.Uuid(), nullable=True),
        sa.Column("started_at", UtcDateTime(), nullable=True),
        sa.Column("finished_at", UtcDateTime(), nullable=False),
        sa.Column("error_category", sa.String(length=255), nullable=True),
        sa.Column("error_class", sa.String(length=255), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("error_traceback", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "outcome IN ('cancelled', 'failed', 'lost', 'released', 'retried', 'succeeded')",
            name=op.f("ck_agentq_attempts_outcome_known"),
        ),
        sa.ForeignKeyConstraint(
            ["job_id"], ["agentq_jobs.id"], name=op.f("fk_agentq_attempts_job_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("job_id", "number", name=op.f("pk_agentq_attempts")),
    )


def downgrade() -> None:
    op.drop_table("agentq_attempts")
    op.drop_table("agentq_jobs")
    op.drop_table("agentq_actions")
    op.drop_table("agentq_workflows")
    op.drop_table("agentq_workers")
