"""The moves of a hand-over: what waited becomes ready, joins count down."""

from __future__ import annotations

import uuid

from sqlalchemy import Connection, bindparam, case, null, update

from agentq.ledger.models import JobRow
from agentq.ledger.transition.shared import BELL, FAILURE, JOB_ID, WHEN_READY, failure_values
from agentq.ledger.types import AnyRow, now
from agentq.outcomes import Failure
from agentq.states import JobKind, JobStatus

_READY = (
    update(JobRow)
    .where(JobRow.after_id == JOB_ID, JobRow.status == JobStatus.WAITING)
    .values(WHEN_READY)
    .returning(
        *BELL,
        JobRow.join_id,
        JobRow.is_last,
        JobRow.is_plain,
        JobRow.remaining,
        case((JobRow.kind == JobKind.EACH, JobRow.arguments), else_=null()).label("template"),
    )
)
_VIRTUAL = (JobRow.id, JobRow.workflow_id, JobRow.join_id, JobRow.is_last, JobRow.remaining)
_COUNT_DOWN = (
    update(JobRow)
    .where(JobRow.id == JOB_ID, JobRow.status == JobStatus.WAITING)
    .values(remaining=JobRow.remaining - 1)
    .returning(*_VIRTUAL)
)
_COUNT_ON = (
    update(JobRow)
    .where(JobRow.id == JOB_ID, JobRow.status == JobStatus.WAITING)
    .values(remaining=bindparam("members"))
    .returning(*_VIRTUAL)
)
_FINISH_VIRTUAL = (
    update(JobRow)
    .where(JobRow.id == JOB_ID, JobRow.status == JobStatus.WAITING)
    .values(status=JobStatus.SUCCEEDED, finished_at=now())
)
_FAIL_VIRTUAL = (
    update(JobRow)
    .where(JobRow.id == JOB_ID, JobRow.status == JobStatus.WAITING)
    .values(status=JobStatus.FAILED, finished_at=now(), **FAILURE)
)


def ready_successors(connection: Connection, job_id: uuid.UUID) -> list[AnyRow]:
    """Waiting to queued or scheduled for the steps after *job_id*; what is virtual stays, for the hand-over."""
    rows = connection.execute(_READY, {"job_id": job_id}).all()
    return sorted(rows, key=lambda row: row.id)  # in the order of the canvas; RETURNING has none


def count_down(connection: Connection, join_id: uuid.UUID) -> AnyRow | None:
    """Count one member of a join as done; the one that sees ``remaining == 0`` finishes the join.

    Counting by a decrement is right when two members finish at the same moment; counting the unfinished
    rows is not, at any isolation level.
    """
    return connection.execute(_COUNT_DOWN, {"job_id": join_id}).one_or_none()


def count_on(connection: Connection, each_id: uuid.UUID, members: int) -> AnyRow | None:
    """Make an ``each`` wait for its *members* branches."""
    return connection.execute(_COUNT_ON, {"job_id": each_id, "members": members}).one_or_none()


def finish_virtual(connection: Connection, job_id: uuid.UUID) -> bool:
    """Waiting to succeeded for a join or an ``each`` whose members are all done."""
    return connection.execute(_FINISH_VIRTUAL, {"job_id": job_id}).rowcount == 1


def fail_virtual(connection: Connection, job_id: uuid.UUID, failure: Failure) -> bool:
    """Waiting to failed for an ``each`` that got no list."""
    values = {"job_id": job_id, **failure_values(failure)}
    return connection.execute(_FAIL_VIRTUAL, values).rowcount == 1
