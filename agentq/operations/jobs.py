"""Jobs: list, get, and what each one waits for."""

from __future__ import annotations

import json
import uuid
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, select

from agentq.exceptions import NotFound
from agentq.ledger import workflows
from agentq.ledger.handover import dispatch_later
from agentq.ledger.models import AttemptRow, JobRow
from agentq.ledger.session import Ledger
from agentq.ledger.types import AnyRow, seconds_from_now
from agentq.operations.actors import deed
from agentq.operations.identity import parse_id
from agentq.operations.schemas import Attempt, Job, JobSummary, shown
from agentq.states import VIRTUAL, JobStatus


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which jobs; None means any. Joins are left out. ``older_than`` is in seconds since they were made."""

    status: JobStatus | None = None
    step: str | None = None
    tenant: str | None = None
    workflow: str | None = None
    older_than: float | None = None


@dataclass(frozen=True, slots=True)
class StepCount:
    """How many jobs of one step have one status; ``dispatched_again`` counts those whose message was lost."""

    step: str
    status: JobStatus
    jobs: int
    dispatched_again: int


def list_(ledger: Ledger, wanted: JobFilter, *, limit: int = 50, oldest_first: bool = False) -> list[JobSummary]:
    """Return up to *limit* jobs, newest first or oldest first."""
    query = select(JobRow.__table__).where(JobRow.kind.not_in(sorted(VIRTUAL)))
    for column, value in (
        (JobRow.status, wanted.status),
        (JobRow.step, wanted.step),
        (JobRow.tenant, wanted.tenant),
        (JobRow.workflow_id, wanted.workflow and parse_id(wanted.workflow, "workflow")),
    ):
        if value is not None:
            query = query.where(column == value)
    if wanted.older_than is not None:
        query = query.where(JobRow.created_at < seconds_from_now(-wanted.older_than))
    query = query.order_by(JobRow.id if oldest_first else JobRow.id.desc()).limit(limit)
    return ledger.read(lambda connection: [JobSummary(**_summary(row)) for row in connection.execute(query)])


def cancel(ledger: Ledger, job_id: str, *, workflow: str | None = None, actor: str = "", reason: str = "") -> bool:
    """Cancel a job and what needs it: a part of a fan-in that can do without, or else its whole workflow.

    Args:
        ledger: where.
        job_id: the job.
        workflow: the workflow that it must be of; None for any.
        actor: who, for the history. Default: the name of the process's user.
        reason: why, for the history.

    Returns False where the job had ended before. Raises NotFound.
    """
    wanted = parse_id(job_id, "job")
    of_workflow = None if workflow is None else parse_id(workflow, "workflow")
    done = deed(actor, reason)

    def write(connection: Connection) -> bool:
        found = connection.scalar(select(JobRow.workflow_id).where(JobRow.id == wanted))
        if found is None or of_workflow not in (None, found):
            of = "" if of_workflow is None else f" of workflow {workflow}"
            raise NotFound(f"no job{of} has the id {job_id}; list them with: agentq jobs list")
        bells = workflows.cancel_job(connection, wanted, **done)
        dispatch_later(connection, bells or ())
        return bells is not None

    return ledger.write(write)


def get(ledger: Ledger, job_id: str) -> Job:
    """Return everything about one job; raises NotFound."""
    wanted = parse_id(job_id, "job")
    jobs = ledger.read(lambda connection: read_jobs(connection, wanted))
    if not jobs:
        raise NotFound(f"no job has the id {job_id}; list them with: agentq jobs list")
    return jobs[0]


def progress(ledger: Ledger, workflow_id: str) -> list[StepCount]:
    """Count the jobs of a workflow by step and status, in one query; joins are left out."""
    query = (
        select(JobRow.step, JobRow.status, func.count(), func.count().filter(JobRow.dispatches > 0))
        .where(JobRow.workflow_id == parse_id(workflow_id, "workflow"), JobRow.kind.not_in(sorted(VIRTUAL)))
        .group_by(JobRow.step, JobRow.status)
    )
    return ledger.read(
        lambda connection: [
            StepCount(step, JobStatus(status), jobs, again)
            for step, status, jobs, again in connection.execute(query)
        ]
    )


def of_workflow(ledger: Ledger, workflow_id: str) -> list[Job]:
    """Return all jobs of a workflow, oldest first."""
    wanted = parse_id(workflow_id, "workflow")
    return ledger.read(lambda connection: read_all(connection, wanted))


def held_by(connection: Connection, worker_id: uuid.UUID, *, limit: int) -> list[JobSummary]:
    """Return up to *limit* jobs that a worker holds, newest first, on a connection that is open already."""
    held = (JobRow.status == JobStatus.RUNNING, JobRow.worker_id == worker_id)
    query = select(JobRow.__table__).where(*held).order_by(JobRow.id.desc()).limit(limit)
    return [JobSummary(**_summary(row)) for row in connection.execute(query)]


def read_all(connection: Connection, workflow_id: uuid.UUID) -> list[Job]:
    """Return all jobs of a workflow, oldest first, on a connection that is open already."""
    return _read(connection, JobRow.workflow_id == workflow_id)


def read_jobs(connection: Connection, job_id: uuid.UUID) -> list[Job]:
    """Return the job of this id, if there is one, on a connection that is open already."""
    return _read(connection, JobRow.id == job_id)


def _read(connection: Connection, wanted: Any) -> list[Job]:
    attempts: dict[uuid.UUID, list[Attempt]] = defaultdict(list)
    history = (
        select(AttemptRow.__table__)
        .join(JobRow, JobRow.id == AttemptRow.job_id)
        .where(wanted)
        .order_by(AttemptRow.job_id, AttemptRow.number)
    )
    for row in connection.execute(history):
        attempts[row.job_id].append(Attempt.model_validate(row))
    rows = connection.execute(select(JobRow.__table__).where(wanted).order_by(JobRow.id))
    return [_job(row, attempts[row.id]) for row in rows]


def _job(row: AnyRow, attempts: list[Attempt]) -> Job:
    args, kwargs = ([], {}) if row.kind in VIRTUAL else json.loads(row.arguments)
    return Job(
        **_summary(row)
        | {"args": shown(json.dumps(args)), "kwargs": shown(json.dumps(kwargs)), "result": shown(row.result)},
        attempts=tuple(attempts),
    )


def _summary(row: AnyRow) -> dict[str, Any]:
    return {**row._mapping, "waiting_for": _waiting_for(row)}


def _waiting_for(row: AnyRow) -> str | None:
    match row.status:
        case JobStatus.WAITING:
            return f"{row.remaining} job(s) before it" if row.remaining else "its place in the workflow"
        case JobStatus.SCHEDULED:
            why = f" ({row.due_reason})" if row.due_reason else ""
            return f"its time, {row.due_at:%Y-%m-%d %H:%M:%S} UTC{why}"
        case JobStatus.QUEUED if row.dispatches > 1:
            sent = f"its message was sent {row.dispatches + 1} times"
            return f"a worker on queue {row.queue!r} that knows step {row.step!r}: {sent} and nobody claimed it"
        case JobStatus.QUEUED:
            return f"a free worker on queue {row.queue!r}"
    return None
