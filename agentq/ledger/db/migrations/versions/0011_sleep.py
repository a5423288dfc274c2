"""Sleeps: jobs that are done at a time."""

from __future__ import annotations

from agentq.ledger.db.words import change_words

revision = "0011"
down_revision = "0010"

_BEFORE = ("each", "join", "step", "task")
_AFTER = ("each", "join", "sleep", "step", "task")


def upgrade() -> None:
    change_words("agentq_jobs", "kind", "agentq_job_kind", _BEFORE, _AFTER)


def downgrade() -> None:
    change_words("agentq_jobs", "kind", "agentq_job_kind", _AFTER, _BEFORE)
