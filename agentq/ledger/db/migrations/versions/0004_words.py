"""Statuses and kinds as domains on PostgreSQL, where a CHECK costs every statement that writes to its table."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_WORDS = {
    ("agentq_workflows", "status", "workflow_status"): ("cancelled", "failed", "running", "succeeded"),
    ("agentq_jobs", "status", "job_status"): (
        *("cancelled", "failed", "queued", "running", "scheduled", "succeeded", "waiting"),
    ),
    ("agentq_jobs", "kind", "job_kind"): ("each", "join", "step", "task"),
    ("agentq_attempts", "outcome", "attempt_outcome"): (
        *("cancelled", "failed", "lost", "released", "retried", "succeeded"),
    ),
    ("agentq_dead_letters", "kind", "dead_letter_kind"): ("job", "message"),
    ("agentq_dead_letters", "status", "dead_letter_status"): ("cancelled", "open", "replayed", "resolved"),
}


_FINAL = ("cancelled", "failed", "succeeded")


def upgrade() -> None:
    if op.get_context().dialect.name != "postgresql":
        return
    for (table, column, domain), words in _WORDS.items():
        op.execute(f"CREATE DOMAIN agentq_{domain} AS VARCHAR(16)")
        # Before the domain has its constraint: so PostgreSQL need not write the whole table anew.
        op.execute(f"ALTER TABLE {table} ALTER COLUMN {column} TYPE agentq_{domain}")
        op.execute(
            f"ALTER DOMAIN agentq_{domain} ADD CONSTRAINT agentq_{domain}_known CHECK ({_one_of('VALUE', words)})"
        )
        op.drop_constraint(f"ck_{table}_{column}_known", table)
    _write_anew()


def downgrade() -> None:
    if op.get_context().dialect.name != "postgresql":
        return
    for (table, column, domain), words in _WORDS.items():
        op.alter_column(table, column, type_=sa.String(16))
        op.execute(f"DROP DOMAIN agentq_{domain}")
        op.create_check_constraint(f"{column}_known", table, _one_of(column, words))
    _write_anew()


def _write_anew() -> None:
    """Write a constraint as it was written first; PostgreSQL keeps what another type made of it."""
    for table in ("agentq_workflows", "agentq_jobs"):
        op.drop_constraint(f"ck_{table}_finished_iff_final", table)
        check = f"(finished_at IS NOT NULL) = ({_one_of('status', _FINAL)})"
        op.create_check_constraint("finished_iff_final", table, check)


def _one_of(value: str, words: tuple[str, ...]) -> str:
    quoted = ", ".join(f"'{word}'" for word in words)
    return f"{value} IN ({quoted})"
