"""The moves of one attempt after its claim: succeed, try again, fail, give back."""

from __future__ import annotations

import uuid
from typing import Any

from sqlalchemy import (
    Float,
    Integer,
    bindparam,
    case,
    update,
)

from agentq.ledger.db.statement import Prepared
from agentq.ledger.db.types import AnyRow, now, seconds_from_now
from agentq.ledger.losses import DEADLINE_EXCEEDED
from agentq.ledger.models import JobRow
from agentq.ledger.moves.ready import READY, ready_or_due
from agentq.ledger.moves.shared import DEAD, DISPATCH, FAILURE, MINE, failure_values
from agentq.ledger.transaction import Transaction
from agentq.outcomes import Fail, Failure, Leave, RetryLater
from agentq.states import JobStatus

SUCCEED = (
    update(JobRow)
    .where(MINE)
    .values(
        status=JobStatus.SUCCEEDED,
        result=bindparam("new_result"),
        finished_at=now(),
        # The errors of earlier attempts stay in the history.
        error_category=None,
        error_class=None,
        error_message=None,
    )
)
_SUCCEED = Prepared(SUCCEED)

_delay = bindparam("seconds", type_=Float())
_deferral = bindparam("deferral", type_=Integer())
_least = JobRow.attempts_before + JobRow.uncounted + bindparam("attempts", type_=Integer())
_counted = JobRow.attempt - JobRow.attempts_before - JobRow.uncounted
_LATER: dict[str, Any] = ready_or_due(_delay > 0, seconds_from_now(_delay)) | {"due_reason": bindparam("due_why")}
_AT_NO_COST: dict[str, Any] = {
    # What is not the step's fault keeps its number but not its cost.
    "max_attempts": JobRow.max_attempts + 1,
    "uncounted": JobRow.uncounted + 1,
}
_RETRY = (
    update(JobRow)
    .where(MINE)
    .values(
        **_LATER,
        # A deferral keeps its number, which is the fencing token, but not its cost.
        max_attempts=case((JobRow.max_attempts < _least, _least), else_=JobRow.max_attempts) + _deferral,
        uncounted=JobRow.uncounted + _deferral,
        deferrals=JobRow.deferrals + _deferral,
        deferred=JobRow.deferred + _deferral * _delay,
        paused=JobRow.paused + bindparam("pause", type_=Float()),
        **FAILURE,
    )
    .returning(*DISPATCH)
)
_FAIL = (
    update(JobRow)
    .where(MINE)
    .values(status=JobStatus.FAILED, finished_at=now(), due_reason=bindparam("due_why"), **FAILURE)
    .returning(*DEAD)
)
_CANCEL_OWN = (
    update(JobRow).where(MINE).values(status=JobStatus.CANCELLED, finished_at=now(), **FAILURE).returning(*DEAD)
)
_RELEASE = update(JobRow).where(MINE).values(READY | _AT_NO_COST).returning(*DISPATCH)
_LEAVE = (
    update(JobRow)
    .where(MINE)
    .values(
        **_LATER,
        # Its time begins with the first attempt that counts.
        deadline_at=case((_counted > 1, JobRow.deadline_at)),
        **_AT_NO_COST,
        **FAILURE,
    )
    .returning(*DISPATCH)
)


def succeed(tx: Transaction, job_id: uuid.UUID, attempt: int, result: str) -> bool:
    """Running to succeeded; False where this attempt no longer owns the job."""
    values = {"job_id": job_id, "held_attempt": attempt, "new_result": result}
    return _SUCCEED.count(tx.connection, values) == 1


def retry(tx: Transaction, job_id: uuid.UUID, attempt: int, later: RetryLater) -> AnyRow | None:
    """Running to scheduled, or to queued without a delay; the columns of DISPATCH, or None where it is lost."""
    values = {"job_id": job_id, "held_attempt": attempt, "seconds": later.delay, "due_why": later.reason or None}
    values |= {"deferral": 0 if later.burns_attempt else 1, "attempts": later.attempts or 0}
    values |= {"pause": later.delay if later.burns_attempt and not later.is_asked else 0.0}
    return tx.connection.execute(_RETRY, values | failure_values(later.failure)).one_or_none()


def fail(tx: Transaction, job_id: uuid.UUID, attempt: int, end: Fail) -> AnyRow | None:
    """Running to failed; the columns of DEAD, or None where this attempt no longer owns the job."""
    values = {"job_id": job_id, "held_attempt": attempt, "due_why": end.reason or None}
    values |= failure_values(end.failure) | ({"category": DEADLINE_EXCEEDED.category} if end.is_late else {})
    return tx.connection.execute(_FAIL, values).one_or_none()


def cancel_own(tx: Transaction, job_id: uuid.UUID, attempt: int, why: Failure) -> AnyRow | None:
    """Running to cancelled, as the step itself asked; the columns of DEAD, or None as for ``fail``."""
    values = {"job_id": job_id, "held_attempt": attempt, **failure_values(why)}
    return tx.connection.execute(_CANCEL_OWN, values).one_or_none()


def release(tx: Transaction, job_id: uuid.UUID, attempt: int) -> AnyRow | None:
    """Running back to queued at once, without cost; for a worker that is being stopped."""
    return tx.connection.execute(_RELEASE, {"job_id": job_id, "held_attempt": attempt}).one_or_none()


def leave(tx: Transaction, job_id: uuid.UUID, attempt: int, left: Leave) -> AnyRow | None:
    """Running to scheduled, or to queued without a delay, without cost: for a worker whose code can run it.

    Returns the columns of DISPATCH, or None where it is lost.
    """
    values = {"job_id": job_id, "held_attempt": attempt, "seconds": left.delay, "due_why": left.reason}
    return tx.connection.execute(_LEAVE, values | failure_values(left.failure)).one_or_none()
