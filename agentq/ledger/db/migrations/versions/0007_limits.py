"""Limits: jobs that wait for a slot of each of theirs, in turns of their tenants."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from agentq.ledger.db.types import UtcDateTime
from agentq.ledger.db.words import change_words

revision = "0007"
down_revision = "0006"

_NAMES = sa.ARRAY(sa.String(255)).with_variant(sa.JSON(none_as_null=True), "sqlite")
_NEW = ("blocked_by", "limits", "held", "blocked_on", "rank_at", "refused")
_BEFORE = ("cancelled", "failed", "queued", "running", "scheduled", "succeeded", "waiting")
_AFTER = ("blocked", *_BEFORE)


def upgrade() -> None:
    change_words("agentq_jobs", "status", "agentq_job_status", _BEFORE, _AFTER)
    op.add_column("agentq_jobs", sa.Column("blocked_by", sa.String(16), nullable=True))
    op.add_column("agentq_jobs", sa.Column("limits", _NAMES, nullable=True))
    op.add_column("agentq_jobs", sa.Column("held", sa.SmallInteger(), server_default="0", nullable=False))
    op.add_column("agentq_jobs", sa.Column("blocked_on", sa.Text(), nullable=True))
    op.add_column("agentq_jobs", sa.Column("rank_at", UtcDateTime(), nullable=True))
    op.add_column("agentq_jobs", sa.Column("refused", sa.SmallInteger(), server_default="0", nullable=False))
    _partial_index(
        "ix_agentq_jobs_blocked",
        ["blocked_on", "tenant", "rank_at", "workflow_id", "id"],
        "status = 'blocked' AND blocked_by = 'limit'",
    )
    _partial_index("ix_agentq_jobs_spent", ["id"], "held > 0 AND NOT (status IN ('blocked', 'queued', 'running'))")
    op.create_table(
        "agentq_limits",
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("declared", sa.Integer(), nullable=False),
        sa.Column("override", sa.Integer(), nullable=True),
        sa.Column("override_until", UtcDateTime(), nullable=True),
        sa.Column("actor", sa.String(255), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("used", sa.Integer(), server_default="0", nullable=False),
        sa.Column("kept_for", sa.Uuid(), nullable=True),
        sa.Column("is_awaited", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("awaits", sa.BigInteger(), server_default="0", nullable=False),
        sa.CheckConstraint("used >= 0", name=op.f("ck_agentq_limits_used_counted")),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_agentq_limits")),
        postgresql_with={"fillfactor": 50},
    )
    _partial_index("ix_agentq_limits_awaited", ["name"], "is_awaited", table="agentq_limits")
    op.create_table(
        "agentq_turns",
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("tenant", sa.String(255), nullable=False),
        sa.Column("served", sa.Float(), server_default="0", nullable=False),
        sa.Column("is_idle", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("entered", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("name", "tenant", name=op.f("pk_agentq_turns")),
    )
    op.create_index("ix_agentq_turns_served", "agentq_turns", ["name", "is_idle", "served", "tenant"])
    op.create_table(
        "agentq_tenants",
        sa.Column("tenant", sa.String(255), nullable=False),
        sa.Column("weight", sa.Float(), server_default="1", nullable=False),
        sa.CheckConstraint("weight > 0", name=op.f("ck_agentq_tenants_weight_positive")),
        sa.PrimaryKeyConstraint("tenant", name=op.f("pk_agentq_tenants")),
    )
    op.create_table(
        "agentq_limit_changes",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("before", sa.Integer(), nullable=False),
        sa.Column("after", sa.Integer(), nullable=False),
        sa.Column("until", UtcDateTime(), nullable=True),
        sa.Column("actor", sa.String(255), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_agentq_limit_changes")),
    )
    op.create_index("ix_agentq_limit_changes_name", "agentq_limit_changes", ["name", "id"])


def downgrade() -> None:
    for table in ("agentq_limit_changes", "agentq_tenants", "agentq_turns", "agentq_limits"):
        op.drop_table(table)
    op.drop_index("ix_agentq_jobs_spent", "agentq_jobs")
    op.drop_index("ix_agentq_jobs_blocked", "agentq_jobs")
    for column in reversed(_NEW):
        op.drop_column("agentq_jobs", column)
    change_words("agentq_jobs", "status", "agentq_job_status", _AFTER, _BEFORE)


def _partial_index(name: str, columns: list[str], where: str, table: str = "agentq_jobs") -> None:
    condition = sa.text(where)
    op.create_index(name, table, columns, postgresql_where=condition, sqlite_where=condition)
