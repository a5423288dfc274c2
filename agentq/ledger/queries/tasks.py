"""Jobs that are alone in their workflows, as a framework's single tasks are, with their attempts."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, select

from agentq.ledger.db.types import AnyRow
from agentq.ledger.models import AttemptRow, JobRow, WorkflowRow

FoundTask = tuple[AnyRow, Sequence[AnyRow]]
"""The job, with ``enqueued_at`` and ``reason`` of its workflow, and its finished attempts in their order."""


def of_workflow(connection: Connection, workflow_id: uuid.UUID) -> FoundTask | None:
    """Return the job of a workflow and its attempts; None unless there is exactly one."""
    return _find(connection, JobRow.workflow_id == workflow_id)


def of_job(connection: Connection, job_id: uuid.UUID) -> FoundTask | None:
    """Return a job and its attempts, or None."""
    return _find(connection, JobRow.id == job_id)


def _find(connection: Connection, wanted: Any) -> FoundTask | None:
    jobs = (
        select(JobRow.__table__, WorkflowRow.created_at.label("enqueued_at"), WorkflowRow.reason)
        .join(WorkflowRow, WorkflowRow.id == JobRow.workflow_id)
        .where(wanted)
        .limit(2)
    )
    found = connection.execute(jobs).all()
    if len(found) != 1:  # a workflow of several jobs is no task's
        return None
    history = select(AttemptRow.__table__).where(AttemptRow.job_id == found[0].id).order_by(AttemptRow.number)
    return found[0], connection.execute(history).all()
