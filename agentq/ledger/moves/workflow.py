"""The moves of whole workflows: their end, and the cancel of their jobs.

A workflow is locked after all jobs of the transaction. So what these make of it is noted, and changed at the end.
"""

from __future__ import annotations

import uuid

from sqlalchemy import String, Uuid, and_, bindparam, case, cast, func, null, select, update
from sqlalchemy.orm import aliased

from agentq.ledger.after_commit import LetIn
from agentq.ledger.db.statement import Prepared
from agentq.ledger.db.types import now
from agentq.ledger.models import JobRow, WorkflowRow
from agentq.ledger.moves.postponed import ENDED_TENANT, awaited_line
from agentq.ledger.moves.shared import FAILURE, JOB_ID, MAY_END_NOW, failure_values
from agentq.ledger.transaction import Transaction
from agentq.outcomes import Failure
from agentq.states import JOB_OPEN, JobStatus, OnFailure, WorkflowStatus

_END_WORKFLOW = Prepared(
    update(WorkflowRow)
    .where(WorkflowRow.id == bindparam("workflow"), WorkflowRow.status == WorkflowStatus.RUNNING)
    .values(
        status=cast(bindparam("new_status"), String(16)),
        finished_at=now(),
        reason=bindparam("why"),
    )
    .returning(awaited_line(ENDED_TENANT).label("line"))
)

# Also where it has failed before: the row must be locked, so that a replay of another dead letter sees this one.
_FAIL_WORKFLOW = (
    update(WorkflowRow)
    .where(
        WorkflowRow.id == bindparam("workflow"),
        WorkflowRow.status.in_([WorkflowStatus.RUNNING, WorkflowStatus.FAILED]),
    )
    .values(
        status=WorkflowStatus.FAILED,
        finished_at=func.coalesce(WorkflowRow.finished_at, now()),
        failed_job_id=func.coalesce(WorkflowRow.failed_job_id, bindparam("failed_job", type_=Uuid())),
    )
    .returning(awaited_line(ENDED_TENANT).label("line"))
)
_other_failed = aliased(JobRow)
_its_member = aliased(JobRow)
# What stops a workflow: a failed job; not what it goes on without.
_stops = and_(
    _other_failed.on_failure != OnFailure.CONTINUE,
    ~select(_its_member.id).where(_its_member.id == _other_failed.part_id, _its_member.is_missing).exists(),
    _other_failed.status == JobStatus.FAILED,
)
_another_failed = (
    select(_other_failed.id)
    .where(_other_failed.workflow_id == bindparam("workflow"), _stops)
    .limit(1)
    .scalar_subquery()
)
_LOCK_WORKFLOW = (
    update(WorkflowRow)
    .where(WorkflowRow.id == bindparam("workflow"), WorkflowRow.status == WorkflowStatus.FAILED)
    .values(reason=WorkflowRow.reason)
)
_REOPEN_WORKFLOW = (
    update(WorkflowRow)
    .where(WorkflowRow.id == bindparam("workflow"), WorkflowRow.status == WorkflowStatus.FAILED)
    .values(
        status=case((_another_failed.is_(None), WorkflowStatus.RUNNING), else_=WorkflowRow.status),
        finished_at=case((_another_failed.is_(None), null()), else_=WorkflowRow.finished_at),
        failed_job_id=_another_failed,
    )
)

_to_end = (
    select(JobRow.id)
    .where(JobRow.workflow_id == bindparam("workflow"), MAY_END_NOW)
    .order_by(JobRow.id)
    .with_for_update(key_share=True)
)
_LOCK_TO_END = select(func.count()).select_from(_to_end.subquery())
_CANCEL_JOBS = (
    update(JobRow)
    .where(JobRow.workflow_id == bindparam("workflow"), JobRow.status.in_(sorted(JOB_OPEN)))
    .values(status=JobStatus.CANCELLED, finished_at=now())
)
_CANCEL_JOB = (
    update(JobRow)
    .where(JobRow.id == JOB_ID, JobRow.status.in_(sorted(JOB_OPEN)))
    .values(status=JobStatus.CANCELLED, finished_at=now(), **FAILURE)
)


def cancel_job(tx: Transaction, job_id: uuid.UUID, why: Failure) -> bool:
    """One job that is not final to cancelled; False where it had ended."""
    return tx.connection.execute(_CANCEL_JOB, {"job_id": job_id, **failure_values(why)}).rowcount == 1


def end_workflow(
    tx: Transaction,
    workflow_id: uuid.UUID,
    status: WorkflowStatus,
    *,
    reason: str | None = None,
) -> bool:
    """Running to a final status at once; False where it had ended already."""
    values = {"workflow": workflow_id, "new_status": status, "why": reason}
    ended = _END_WORKFLOW.one_or_none(tx.connection, values)
    let_next_in(tx, None if ended is None else ended.line)
    return ended is not None


def change_workflows(tx: Transaction) -> None:
    """Stop, reopen and end the workflows of a transaction, which locks no more jobs: the last that it does."""
    for workflow_id, change in tx.take_changes():
        if change.stopped_by is not None:
            fail_workflow(tx, workflow_id, change.stopped_by)
        if change.reopens:
            _reopen_workflow(tx, workflow_id)
        if change.succeeds:
            end_workflow(tx, workflow_id, WorkflowStatus.SUCCEEDED)


def succeed_workflow(tx: Transaction, workflow_id: uuid.UUID) -> None:
    """Running to succeeded at the end of the transaction."""
    tx.change_of(workflow_id).succeeds = True


def stop_workflow(tx: Transaction, workflow_id: uuid.UUID, job_id: uuid.UUID) -> None:
    """Running to failed at the end of the transaction, because *job_id* failed for good."""
    tx.change_of(workflow_id).stopped_by = job_id


def reopen_workflow(tx: Transaction, workflow_id: uuid.UUID) -> None:
    """Failed to running at the end of the transaction, unless another of its jobs stops it too."""
    tx.change_of(workflow_id).reopens = True


def fail_workflow(tx: Transaction, workflow_id: uuid.UUID, job_id: uuid.UUID) -> None:
    """Running to failed at once, because *job_id* failed for good; stays failed where it was before."""
    let_next_in(tx, tx.connection.scalar(_FAIL_WORKFLOW, {"workflow": workflow_id, "failed_job": job_id}))


def let_next_in(tx: Transaction, line: str | None) -> None:
    """Have the next workflow let in after the commit, where one waits in the line of the tenant's cap."""
    if line is not None:
        tx.then(LetIn(line))


def cancel_jobs(tx: Transaction, workflow_id: uuid.UUID) -> int:
    """Every job of the workflow that is not final to cancelled; returns how many."""
    tx.connection.execute(_LOCK_TO_END, {"workflow": workflow_id})
    return tx.connection.execute(_CANCEL_JOBS, {"workflow": workflow_id}).rowcount


def _reopen_workflow(tx: Transaction, workflow_id: uuid.UUID) -> None:
    # Locked by a statement of its own, so that the second one sees every job that failed before.
    if tx.connection.execute(_LOCK_WORKFLOW, {"workflow": workflow_id}).rowcount == 1:
        tx.connection.execute(_REOPEN_WORKFLOW, {"workflow": workflow_id})
