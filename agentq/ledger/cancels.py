"""Cancels of workflows and of single jobs, with all that needs them."""

from __future__ import annotations

import uuid

from sqlalchemy import select

from agentq.exceptions import NotFound
from agentq.ledger import actions, moves
from agentq.ledger.db.types import AnyRow
from agentq.ledger.handover import drop_member
from agentq.ledger.history import end_cancelled
from agentq.ledger.models import JobRow
from agentq.ledger.transaction import Transaction
from agentq.outcomes import Failure
from agentq.states import JOB_FINAL, WorkflowStatus


class _EndedBefore(Exception):
    """Undoes a cancel that came too late."""


def cancel(
    tx: Transaction, workflow_id: uuid.UUID, *, actor: str, reason: str, action_id: uuid.UUID | None = None
) -> bool:
    """Cancel a workflow and all its jobs that are not final; False where it had ended before.

    A worker that runs one of the jobs loses it: what it brings is discarded. *action_id* is the same each time
    that one cancel is tried: so one whose commit got no answer finds that it was done.
    """
    try:
        with tx.connection.begin_nested():
            # In the order of every hand-over: jobs, then the workflow. So neither waits for the other in a circle.
            moves.cancel_jobs(tx, workflow_id)
            if not moves.end_workflow(tx, workflow_id, WorkflowStatus.CANCELLED, reason=reason):
                raise _EndedBefore
    except _EndedBefore:
        return action_id is not None and actions.is_noted(tx.connection, action_id)
    while moves.cancel_jobs(tx, workflow_id):
        pass  # branches to which an each was being expanded when the first statement read
    end_cancelled(tx, workflow_id)
    actions.note(tx, workflow_id, None, "cancel", actor=actor, reason=reason, action_id=action_id)
    return True


def cancel_job(
    tx: Transaction, job_id: uuid.UUID, *, actor: str, reason: str, action_id: uuid.UUID | None = None
) -> bool:
    """Cancel a job and the jobs that need it: the member of a fan-in that can be missing, or the whole workflow.

    What goes on without it is dispatched. False where the job had ended before. Raises NotFound.
    """
    # Locked, so that a completion that is under way has ended, one way or the other, before it is decided.
    found = select(*moves.DEAD, JobRow.status).where(JobRow.id == job_id).with_for_update(key_share=True)
    job = tx.connection.execute(found).one_or_none()
    if job is None:
        raise NotFound(f"no job has the id {job_id}; list them with: agentq jobs list")
    if action_id is not None and actions.is_noted(tx.connection, action_id):
        return True
    if job.status in JOB_FINAL:
        return False
    why = Failure("cancelled", "agentq.Cancelled", f"{actor} cancelled it: {reason}")
    if job.part_id is not None:
        drop_member(tx, job, why)
    elif not cancel(tx, job.workflow_id, actor=actor, reason=f"job {job_id} was cancelled: {reason}"):
        # Of a workflow that has failed, other branches may still run.
        if not moves.cancel_job(tx, job_id, why):
            return False
        end_cancelled(tx, job.workflow_id)
    actions.note(tx, job.workflow_id, job_id, "cancel job", actor=actor, reason=reason, action_id=action_id)
    return True


def cancel_with_dependents(tx: Transaction, job: AnyRow, *, actor: str, why: Failure) -> None:
    """Cancel all jobs that need a job that has just been cancelled; *job* has the columns of DEAD."""
    if job.part_id is not None:
        drop_member(tx, job, why)
    else:
        cancel(tx, job.workflow_id, actor=actor, reason=why.message)
