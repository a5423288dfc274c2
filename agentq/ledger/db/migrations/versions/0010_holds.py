"""Slots that attempts hold beside those of their jobs, strict limits, and what of a limit is from a file."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from agentq.ledger.db.types import UtcDateTime

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.add_column("agentq_limits", sa.Column("is_strict", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.add_column("agentq_limits", sa.Column("from_file", sa.String(64), nullable=True))
    op.create_table(
        "agentq_holds",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("until", UtcDateTime(), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["agentq_jobs.id"], name="fk_agentq_holds_job_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_agentq_holds"),
    )
    op.create_index("ix_agentq_holds_name", "agentq_holds", ["name", "id"])
    op.create_index("ix_agentq_holds_job", "agentq_holds", ["job_id", "attempt"])
    op.create_index("ix_agentq_holds_until", "agentq_holds", ["until"])


def downgrade() -> None:
    # Their slots are no job's: nobody of an older release would give them back.
    held = "SELECT count(*) FROM agentq_holds WHERE agentq_holds.name = agentq_limits.name"
    op.execute(f"UPDATE agentq_limits SET used = used - ({held})")  # noqa: S608 - of this file alone
    op.drop_table("agentq_holds")
    op.drop_column("agentq_limits", "from_file")
    op.drop_column("agentq_limits", "is_strict")
