"""Dead letters, deadlines, retry policies, missing parts of a fan-in, what a provider said of a failed attempt."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from agentq.ledger.db.types import UtcDateTime

revision = "0002"
down_revision = "0001"

_OF_JOBS = (
    *("hard_timeout", "allowance", "deadline", "deadline_at", "due_reason"),
    *("attempts_before", "uncounted", "waits", "paused", "waited"),
    *("missing", "needs", "part_id", "is_missing", "on_failure"),
)
_OPEN_DEADLINE = "deadline_at IS NOT NULL AND finished_at IS NULL"


def upgrade() -> None:
    op.add_column("agentq_workflows", sa.Column("policy", sa.Text(), nullable=True))
    op.add_column("agentq_workflows", sa.Column("deadline_at", UtcDateTime(), nullable=True))
    op.add_column("agentq_jobs", sa.Column("hard_timeout", sa.Double(), nullable=True))
    op.add_column("agentq_jobs", sa.Column("allowance", sa.Integer(), server_default="1", nullable=False))
    op.add_column("agentq_jobs", sa.Column("deadline", sa.Double(), nullable=True))
    op.add_column("agentq_jobs", sa.Column("deadline_at", UtcDateTime(), nullable=True))
    op.add_column("agentq_jobs", sa.Column("due_reason", sa.String(length=255), nullable=True))
    for column in ("attempts_before", "uncounted", "waits", "missing"):
        op.add_column("agentq_jobs", sa.Column(column, sa.Integer(), server_default="0", nullable=False))
    for column in ("paused", "waited"):
        op.add_column("agentq_jobs", sa.Column(column, sa.Double(), server_default="0", nullable=False))
    op.add_column("agentq_jobs", sa.Column("needs", sa.String(length=16), nullable=True))
    op.add_column("agentq_jobs", sa.Column("part_id", sa.Uuid(), nullable=True))
    op.add_column("agentq_jobs", sa.Column("is_missing", sa.Boolean(), server_default=sa.false(), nullable=False))
    on_failure = sa.Column("on_failure", sa.String(length=16), server_default="stop", nullable=False)
    op.add_column("agentq_jobs", on_failure)
    for column in ("error_provider", "error_code", "error_request_id"):
        op.add_column("agentq_attempts", sa.Column(column, sa.String(length=255), nullable=True))
    op.add_column("agentq_attempts", sa.Column("error_status", sa.Integer(), nullable=True))
    op.add_column("agentq_actions", sa.Column("details", sa.Text(), nullable=True))
    _create_dead_letters()
    _partial_index("ix_agentq_jobs_part", "agentq_jobs", "part_id", "part_id IS NOT NULL")
    for table in ("agentq_workflows", "agentq_jobs"):
        _partial_index(f"ix_{table}_deadline", table, "deadline_at", _OPEN_DEADLINE)


def downgrade() -> None:
    op.drop_table("agentq_dead_letters")
    for table in ("agentq_workflows", "agentq_jobs"):
        op.drop_index(f"ix_{table}_deadline", table)
    op.drop_index("ix_agentq_jobs_part", "agentq_jobs")
    op.drop_column("agentq_actions", "details")
    for column in ("error_provider", "error_code", "error_request_id", "error_status"):
        op.drop_column("agentq_attempts", column)
    for column in _OF_JOBS:
        op.drop_column("agentq_jobs", column)
    for column in ("policy", "deadline_at"):
        op.drop_column("agentq_workflows", column)


def _create_dead_letters() -> None:
    table = "agentq_dead_letters"
    op.create_table(
        table,
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=True),
        sa.Column("workflow_id", sa.Uuid(), nullable=True),
        sa.Column("tenant", sa.String(length=255), nullable=False),
        sa.Column("step", sa.String(length=255), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("error_category", sa.String(length=255), nullable=True),
        sa.Column("error_class", sa.String(length=255), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("needs_person", sa.Boolean(), nullable=False),
        sa.Column("owner", sa.String(length=255), nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("digest", sa.String(length=64), nullable=True),
        sa.Column("messages", sa.Integer(), server_default="1", nullable=False),
        sa.Column("snapshot", sa.Text(), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("dispatched_at", UtcDateTime(), nullable=True),
        sa.Column("recorded_at", UtcDateTime(), nullable=True),
        sa.Column("handled_at", UtcDateTime(), nullable=True),
        sa.Column("closed_at", UtcDateTime(), nullable=True),
        sa.CheckConstraint(
            "(closed_at IS NULL) = (status = 'open')", name=op.f("ck_agentq_dead_letters_closed_iff_not_open")
        ),
        sa.CheckConstraint(
            "(kind = 'job') = (job_id IS NOT NULL)", name=op.f("ck_agentq_dead_letters_job_has_id")
        ),
        sa.CheckConstraint("kind IN ('job', 'message')", name=op.f("ck_agentq_dead_letters_kind_known")),
        sa.CheckConstraint(
            "status IN ('cancelled', 'open', 'replayed', 'resolved')",
            name=op.f("ck_agentq_dead_letters_status_known"),
        ),
        sa.ForeignKeyConstraint(
            ["job_id"], ["agentq_jobs.id"], name=op.f("fk_agentq_dead_letters_job_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["workflow_id"],
            ["agentq_workflows.id"],
            name=op.f("fk_agentq_dead_letters_workflow_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_agentq_dead_letters")),
    )
    op.create_index(f"ix_{table}_job", table, ["job_id"])
    op.create_index(f"ix_{table}_workflow", table, ["workflow_id"])
    op.create_index(f"ix_{table}_status", table, ["status", "id"])
    _partial_index(f"ix_{table}_unhandled", table, "created_at", "handled_at IS NULL")
    _partial_index(f"uq_{table}_open", table, "job_id", "status = 'open' AND job_id IS NOT NULL", unique=True)
    _partial_index(f"uq_{table}_digest", table, "digest", "digest IS NOT NULL", unique=True)


def _partial_index(name: str, table: str, column: str, where: str, *, unique: bool = False) -> None:
    condition = sa.text(where)
    op.create_index(name, table, [column], unique=unique, postgresql_where=condition, sqlite_where=condition)
