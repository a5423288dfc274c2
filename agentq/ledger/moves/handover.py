"""The moves of a hand-over: what waited becomes ready, joins count down."""

from __future__ import annotations

import uuid
from typing import Any

from sqlalchemy import bindparam, case, func, null, update

from agentq.ledger.db.statement import Prepared
from agentq.ledger.db.types import AnyRow, now, seconds_from_now
from agentq.ledger.models import JobRow
from agentq.ledger.moves.ready import AFTER_OTHERS
from agentq.ledger.moves.shared import DEAD, DISPATCH, FAILURE, JOB_ID, failure_values
from agentq.ledger.transaction import Transaction
from agentq.outcomes import Failure
from agentq.states import JobKind, JobStatus

FAN_IN: tuple[Any, ...] = (
    JobRow.id,
    JobRow.workflow_id,
    JobRow.join_id,
    JobRow.is_last,
    JobRow.remaining,
    JobRow.missing,
    JobRow.needs,
    JobRow.part_id,
    JobRow.on_failure,
)
"""The columns that the end of a fan-in needs."""
JOIN_CLOCK = func.coalesce(
    JobRow.deadline_at, case((JobRow.deadline.is_not(None), seconds_from_now(JobRow.deadline)))
)
"""A fan-in with a deadline waits that long after its first member has ended."""
_BECOMES_READY = (
    update(JobRow)
    .where(JobRow.status == JobStatus.WAITING)
    .values(AFTER_OTHERS)
    .returning(
        *DISPATCH,
        *(column for column in FAN_IN if column not in DISPATCH),
        JobRow.is_plain,
        case((JobRow.kind == JobKind.EACH, JobRow.arguments), else_=null()).label("template"),
    )
)
_READY = Prepared(_BECOMES_READY.where(JobRow.after_id == JOB_ID))
_READY_ONE = _BECOMES_READY.where(JobRow.id == JOB_ID)
_COUNT_DOWN = Prepared(
    update(JobRow)
    .where(JobRow.id == JOB_ID, JobRow.status == JobStatus.WAITING)
    .values(remaining=JobRow.remaining - 1, deadline_at=JOIN_CLOCK)
    .returning(*FAN_IN)
)
_COUNT_ON = (
    update(JobRow)
    .where(JobRow.id == JOB_ID, JobRow.status == JobStatus.WAITING)
    .values(remaining=bindparam("members"))
    .returning(*FAN_IN)
)
_FINISH_FAN_IN = Prepared(
    update(JobRow)
    .where(JobRow.id == JOB_ID, JobRow.status == JobStatus.WAITING)
    .values(status=JobStatus.SUCCEEDED, finished_at=now())
)
_FAIL_FAN_IN = (
    update(JobRow)
    .where(JobRow.id == JOB_ID, JobRow.status == JobStatus.WAITING)
    .values(status=JobStatus.FAILED, finished_at=now(), **FAILURE)
    .returning(*DEAD)
)


def ready_successors(tx: Transaction, job_id: uuid.UUID) -> list[AnyRow]:
    """Waiting to queued or scheduled for the steps after *job_id*; fan-ins stay, for the hand-over."""
    rows = _READY.all(tx.connection, {"job_id": job_id})
    return sorted(rows, key=lambda row: row.id)  # in the order of the canvas; RETURNING has none


def ready(tx: Transaction, job_id: uuid.UUID) -> AnyRow | None:
    """Do the same for one job that waits although the one before it is done; None where it does not wait."""
    return tx.connection.execute(_READY_ONE, {"job_id": job_id}).one_or_none()


def count_down(tx: Transaction, join_id: uuid.UUID) -> AnyRow | None:
    """Count one member of a join as done; the one that sees ``remaining == 0`` finishes the join.

    Counting by a decrement is right when two members finish concurrently; counting the unfinished
    rows is not, at any isolation level.
    """
    return _COUNT_DOWN.one_or_none(tx.connection, {"job_id": join_id})


def count_on(tx: Transaction, each_id: uuid.UUID, members: int) -> AnyRow | None:
    """Make an ``each`` wait for its *members* branches."""
    return tx.connection.execute(_COUNT_ON, {"job_id": each_id, "members": members}).one_or_none()


def finish_fan_in(tx: Transaction, job_id: uuid.UUID) -> bool:
    """Waiting to succeeded for a join or an ``each`` whose members are all done."""
    return _FINISH_FAN_IN.count(tx.connection, {"job_id": job_id}) == 1


def fail_fan_in(tx: Transaction, job_id: uuid.UUID, failure: Failure) -> AnyRow | None:
    """Waiting to failed for an ``each`` without a list, or a fan-in with missing members; the columns of DEAD."""
    values = {"job_id": job_id, **failure_values(failure)}
    return tx.connection.execute(_FAIL_FAN_IN, values).one_or_none()
