"""The move of a job to another queue; where a queue is ordered, from the line of one limit to that of another."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from sqlalchemy import String, bindparam, false, func, select, update

from agentq.ledger.db.types import AnyRow
from agentq.ledger.models import JobRow, LimitRow
from agentq.ledger.moves.limits import LIMIT, free_slots, tokens_by_limit
from agentq.ledger.moves.ready import due_if_ready, rank
from agentq.ledger.moves.shared import JOB_ID
from agentq.ledger.moves.timed import schedule_now
from agentq.ledger.transaction import Transaction
from agentq.states import JOB_AHEAD, RUNNABLE, JobStatus

_HAS_LIMIT = select(LimitRow.name).where(LimitRow.name == LIMIT)
_MOVE = (
    update(JobRow)
    .where(JobRow.id == JOB_ID, JobRow.status.in_(sorted(JOB_AHEAD)), JobRow.kind.in_(sorted(RUNNABLE)))
    .values(queue=bindparam("new_queue", type_=String()))
    .returning(JobRow.status)
)
_MOVE_LINE = _MOVE.values(
    **due_if_ready(),
    limits=bindparam("new_limits", type_=JobRow.__table__.c.limits.type),
    tokens=bindparam("new_tokens", type_=JobRow.__table__.c.tokens.type),
    held=0,
    is_outstanding=false(),
    refused=0,
    rank_at=func.coalesce(JobRow.rank_at, rank(JobRow.workflow_id, JobRow.priority)),
)


def has_limit(tx: Transaction, limit: str) -> bool:
    """Say whether the ledger has a limit of this name."""
    return tx.connection.scalar(_HAS_LIMIT, {"limit": limit}) is not None


def move_job(tx: Transaction, job_id: uuid.UUID, queue: str) -> bool:
    """A job that has yet to run to another queue, due at once if it was queued; False for all others."""
    moved = tx.connection.scalar(_MOVE, {"job_id": job_id, "new_queue": queue})
    if moved == JobStatus.QUEUED:
        schedule_now(tx, [job_id])
    return moved is not None


def move_into_line(tx: Transaction, job: AnyRow, queue: str, limits: Sequence[str]) -> bool:
    """As ``move_job``, for a *job* that has other *limits* in the new queue, and gives back the slots that it has.

    A job that was ready is due at once. *job* is locked, with the columns that ``free_slots`` takes.
    """
    before = tokens_by_limit(job) if job.tokens else {}
    tokens = [before.get(name, 0) for name in limits] if before else None
    values = {"job_id": job.id, "new_queue": queue, "new_limits": list(limits) or None, "new_tokens": tokens}
    if tx.connection.scalar(_MOVE_LINE, values) is None:
        return False
    for limit in (job.limits or ())[: job.held]:
        free_slots(tx, limit, [job])
    return True
