"""Sleeps: jobs that are done at a time."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"

_BEFORE = ("each", "join", "step", "task")
_AFTER = ("each", "join", "sleep", "step", "task")


def upgrade() -> None:
    _let_kinds_be(_BEFORE, _AFTER)


def downgrade() -> None:
    _let_kinds_be(_AFTER, _BEFORE)


def _let_kinds_be(before: tuple[str, ...], after: tuple[str, ...]) -> None:
    if op.get_context().dialect.name == "postgresql":
        name = "agentq_job_kind_known"
        op.execute(f"ALTER DOMAIN agentq_job_kind DROP CONSTRAINT {name}")
        op.execute(f"ALTER DOMAIN agentq_job_kind ADD CONSTRAINT {name} CHECK ({_one_of('VALUE', after)})")
        return
    # As in the migration of limits: SQLite drops no constraint.
    change = sa.text("UPDATE sqlite_master SET sql = replace(sql, :before, :after) WHERE name = 'agentq_jobs'")
    op.execute("PRAGMA writable_schema = ON")
    op.execute(change.bindparams(before=_one_of("kind", before), after=_one_of("kind", after)))
    op.execute("PRAGMA writable_schema = RESET")


def _one_of(value: str, words: tuple[str, ...]) -> str:
    quoted = ", ".join(f"'{word}'" for word in words)
    return f"{value} IN ({quoted})"
