"""Jobs, fan-ins and workflows whose time is over."""

from __future__ import annotations

from sqlalchemy import and_, bindparam, select

from agentq.ledger import moves
from agentq.ledger.cancels import cancel, cancel_with_dependents
from agentq.ledger.db.types import now
from agentq.ledger.handover import close_fan_in, fail_for_good
from agentq.ledger.history import end_attempt
from agentq.ledger.losses import DEADLINE_EXCEEDED
from agentq.ledger.models import JobRow, WorkflowRow
from agentq.ledger.transaction import Transaction
from agentq.outcomes import Failure
from agentq.states import JOB_EXPIRING, AttemptOutcome, JobStatus, WorkflowStatus

# In a failed workflow it waits for a replay: that makes the workflow run, and then it is cancelled.
EXPIRED = (
    select(*moves.DEAD, JobRow.step)
    .join(WorkflowRow, and_(WorkflowRow.id == JobRow.workflow_id, WorkflowRow.status == WorkflowStatus.RUNNING))
    .where(
        JobRow.expires_at <= now(),
        JobRow.finished_at.is_(None),
        JobRow.status.in_(sorted(JOB_EXPIRING)),
    )
)
"""The jobs whose expiry passed before they ran."""
OVERDUE_WORKFLOWS = select(WorkflowRow.id).where(
    WorkflowRow.deadline_at <= now(), WorkflowRow.finished_at.is_(None)
)
"""The workflows that were not done by their deadline."""
_expired = EXPIRED.limit(bindparam("most"))
_overdue_workflows = OVERDUE_WORKFLOWS.limit(bindparam("most"))


def expire(tx: Transaction, most: int) -> int:
    """Cancel up to *most* jobs whose expiry passed before they ran, and what needs them; returns how many."""
    expired = tx.connection.execute(_expired, {"most": most}).all()
    for row in expired:
        why = Failure("expired", "agentq.Expired", f"step {row.step!r} expired before it ran")
        cancel_with_dependents(tx, row, actor="agentq", why=why)
    return len(expired)


def end_overdue(tx: Transaction, most: int) -> int:
    """End up to *most* jobs and fan-ins whose deadline has passed; returns how many.

    Jobs fail, and fan-ins go on with what is there.
    """
    overdue = moves.lock_overdue(tx, most)
    for row in overdue:
        if moves.fail_overdue(tx, row, DEADLINE_EXCEEDED):
            if row.status == JobStatus.RUNNING:
                end_attempt(tx, row, AttemptOutcome.FAILED, DEADLINE_EXCEEDED)
            fail_for_good(tx, row)
    fan_ins = moves.overdue_fan_ins(tx, most)
    for fan_in in fan_ins:
        close_fan_in(tx, fan_in.id, fan_in.workflow_id)
    return len(overdue) + len(fan_ins)


def cancel_overdue(tx: Transaction, most: int) -> int:
    """Cancel up to *most* workflows that were not done by their deadline; returns how many."""
    overdue = tx.connection.scalars(_overdue_workflows, {"most": most}).all()
    return sum(
        cancel(tx, workflow_id, actor="agentq", reason="it was not done within its deadline")
        for workflow_id in overdue
    )
