"""Workflows as people and handles ask for them: by filter, one with its error, its status and its result."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, and_, bindparam, outerjoin, select
from sqlalchemy.orm import aliased

from agentq.exceptions import NotFound, StateConflict, StepFailed, WorkflowCancelled
from agentq.ledger.db.statement import Prepared
from agentq.ledger.db.types import AnyRow
from agentq.ledger.models import ActionRow, JobRow, WorkflowRow
from agentq.ledger.queries.selection import Selection, Wanted
from agentq.ledger.results import collect_results
from agentq.states import FAN_INS, WorkflowStatus

_COLUMNS = {
    "status": WorkflowRow.status,
    "tenant": WorkflowRow.tenant,
    "key": WorkflowRow.key,
    "name": WorkflowRow.name,
}
_failed_of = outerjoin(
    WorkflowRow, JobRow, and_(JobRow.id == WorkflowRow.failed_job_id, WorkflowRow.status == WorkflowStatus.FAILED)
)
_ALL = Selection(
    WorkflowRow,
    select(WorkflowRow.__table__, JobRow.error_category, JobRow.error_class, JobRow.error_message).select_from(
        _failed_of
    ),
)

_same = aliased(WorkflowRow)
# Named by a scalar subquery, as in the hand-over: a join may read all jobs, by a plan of when there were none.
_result_job = select(_same.result_job_id).where(_same.id == bindparam("workflow")).scalar_subquery()
_SCHEDULED_FOR = select(WorkflowRow.scheduled_for).where(WorkflowRow.id == bindparam("workflow"))
_STATUS = Prepared(
    select(
        WorkflowRow.id,
        WorkflowRow.status,
        WorkflowRow.reason,
        WorkflowRow.failed_job_id,
        WorkflowRow.result_job_id,
        JobRow.kind,
        JobRow.step,
        JobRow.result,
    )
    .outerjoin(JobRow, JobRow.id == _result_job)
    .where(WorkflowRow.id == bindparam("workflow"))
)


def scheduled_for(connection: Connection, workflow_id: uuid.UUID) -> datetime | None:
    """Return the tick of the schedule that started a workflow; None where none did."""
    tick: datetime | None = connection.scalar(_SCHEDULED_FOR, {"workflow": workflow_id})
    return tick


def workflow_status(connection: Connection, workflow_id: uuid.UUID) -> AnyRow:
    """Return id, status, reason, failed_job_id and result_job_id, with kind, step and result of the latter.

    One statement. Raises NotFound.
    """
    row = _STATUS.one_or_none(connection, {"workflow": workflow_id})
    if row is None:
        raise _not_found(workflow_id)
    return row


def workflow_result(connection: Connection, status: AnyRow) -> tuple[str, Any]:
    """Return the step whose result it is, and the result as JSON data; raises what made the workflow fail.

    *status* has the columns of ``workflow_status``, so that the result of a step needs no statement more.
    """
    if status.status == WorkflowStatus.CANCELLED:
        raise WorkflowCancelled(workflow_id=str(status.id), reason=status.reason or "")
    if status.status == WorkflowStatus.FAILED:
        raise _failure(connection, status)
    result = collect_results(connection, status.result_job_id) if status.kind in FAN_INS else status.result
    return status.step or "", json.loads(result or "null")


def result_of_ended(connection: Connection, workflow_id: uuid.UUID) -> Any:
    """Return the result as JSON data; raises NotFound, StateConflict while it runs, or what made it fail."""
    status = workflow_status(connection, workflow_id)
    if status.status == WorkflowStatus.RUNNING:
        raise StateConflict(
            f"workflow {workflow_id}",
            expected=[WorkflowStatus.SUCCEEDED],
            found=status.status,
            next_step="Ask again later.",
        )
    return workflow_result(connection, status)[1]


def matching(wanted: Wanted) -> Selection:
    """Return the workflows that a filter wants, each with the error that it failed of."""
    return _ALL.matching(_COLUMNS, wanted)


def summary(connection: Connection, workflow_id: uuid.UUID) -> AnyRow:
    """Return a workflow with the error that it failed of; raises NotFound."""
    row = connection.execute(_ALL.query.where(WorkflowRow.id == workflow_id)).one_or_none()
    if row is None:
        raise _not_found(workflow_id)
    return row


def actions(connection: Connection, workflow_id: uuid.UUID) -> Sequence[AnyRow]:
    """Return what people did to a workflow and its jobs, oldest first."""
    query = select(ActionRow.__table__).where(ActionRow.workflow_id == workflow_id).order_by(ActionRow.id)
    return connection.execute(query).all()


def get(connection: Connection, workflow_id: uuid.UUID) -> AnyRow | None:
    """Return the workflow's row, or None."""
    return connection.execute(select(WorkflowRow.__table__).where(WorkflowRow.id == workflow_id)).one_or_none()


def _failure(connection: Connection, status: AnyRow) -> StepFailed:
    job = connection.execute(
        select(JobRow.step, JobRow.attempt, JobRow.error_category, JobRow.error_class, JobRow.error_message).where(
            JobRow.id == status.failed_job_id
        )
    ).one()
    return StepFailed(
        workflow_id=str(status.id),
        job_id=str(status.failed_job_id),
        step=job.step,
        attempts=job.attempt,
        error_class=job.error_class or "",
        error_message=job.error_message or "",
        category=job.error_category or "",
    )


def _not_found(workflow_id: uuid.UUID) -> NotFound:
    return NotFound(f"no workflow has the id {workflow_id}; list them with: agentq workflows list")
