"""Attempts that are taken from their worker: lost, abandoned, or given back at its stop."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, Uuid, and_, bindparam, func, or_, select

from agentq.ledger import moves
from agentq.ledger.db.types import AnyRow, now
from agentq.ledger.handover import dispatch_queued, fail_for_good
from agentq.ledger.history import end_attempt
from agentq.ledger.losses import DEADLINE_EXCEEDED, GIVEN_UP, WORKER_LOST
from agentq.ledger.models import JobRow, WorkerRow, WorkflowRow
from agentq.ledger.records import Dispatch, dispatch_of
from agentq.ledger.transaction import Transaction
from agentq.outcomes import Fail, Failure, RetryLater
from agentq.states import AttemptOutcome, JobStatus


def _of_workflow(column: Any) -> Any:
    return select(column).where(WorkflowRow.id == JobRow.workflow_id).scalar_subquery().label(column.key)


_LOST_ATTEMPT: tuple[Any, ...] = (
    JobRow.id,
    JobRow.workflow_id,
    JobRow.kind,
    JobRow.step,
    *moves.COUNTS,
    JobRow.worker_id,
    JobRow.started_at,
    JobRow.deadline_at,
    JobRow.limits,
    *(_of_workflow(column) for column in (WorkflowRow.policy, WorkflowRow.terms)),
    now().label("seen_at"),
)

_worker = select(WorkerRow.hostname).where(WorkerRow.id == JobRow.worker_id).scalar_subquery()
_lost = (
    select(*_LOST_ATTEMPT, func.coalesce(_worker, "(unknown)").label("worker"))
    .where(moves.LOST)
    .limit(bindparam("most"))
    .with_for_update(skip_locked=True, key_share=True, of=JobRow)
)
RUNNING_ON = and_(JobRow.status == JobStatus.RUNNING, JobRow.worker_id == bindparam("worker", type_=Uuid()))
"""A job that the ledger says this worker is running."""
_running_on = select(JobRow.id, JobRow.attempt).where(RUNNING_ON)
_running_in_full = select(*_LOST_ATTEMPT).where(RUNNING_ON)


_MOMENT = 0.001
"""Seconds of a pause in which a job gives its slots back: the lost attempt may keep them."""

DecideLoss = Callable[[AnyRow, Failure], RetryLater | Fail]
"""Decides on a lost attempt, from its row and the reason of its loss."""


@dataclass(frozen=True, slots=True)
class RunningAttempt:
    """An attempt that the ledger says is running."""

    job_id: uuid.UUID
    attempt: int


@dataclass(frozen=True, slots=True)
class Lost:
    """An attempt that was taken from its worker: why, and what becomes of its job."""

    attempt: RunningAttempt
    step: str
    worker: str | None
    """The worker whose lease is over; None for one that lives."""
    why: Failure
    becomes: RetryLater | Fail | None
    """None: it is given back, and the attempt does not count."""


def rescue_lost(tx: Transaction, decide: DecideLoss, most: int) -> list[Lost]:
    """Take up to *most* jobs from workers whose lease is over: to be tried again, or failed for good."""
    rows = moves.by_workflow(tx.connection.execute(_lost, {"most": most}))
    return _rescue(tx, ((row, WORKER_LOST) for row in rows), decide)


def running_on(connection: Connection, worker_id: uuid.UUID) -> frozenset[RunningAttempt]:
    """Return the attempts that the ledger says this worker is running."""
    rows = connection.execute(_running_on, {"worker": worker_id})
    return frozenset(RunningAttempt(row.id, row.attempt) for row in rows)


def rescue_abandoned(
    tx: Transaction,
    worker_id: uuid.UUID,
    abandoned: Mapping[RunningAttempt, Failure],
    decide: DecideLoss,
) -> list[Lost]:
    """Take the given attempts from a worker that lives but does not run them, each for its reason."""
    running_now = tx.connection.execute(_running_in_full, {"worker": worker_id}).all()
    rows = {RunningAttempt(row.id, row.attempt): row for row in running_now}
    found = [(rows[attempt], why) for attempt, why in abandoned.items() if attempt in rows]
    return _rescue(tx, sorted(found, key=lambda pair: pair[0].workflow_id), decide)


def no_longer_owned(
    connection: Connection, worker_id: uuid.UUID, jobs: Collection[uuid.UUID]
) -> dict[uuid.UUID, str]:
    """Return status by id of those *jobs* that this worker should not run any more.

    Not those that it has just ended itself: Celery may hear of that later, when the broker is back.
    """
    gone = or_(
        JobRow.status == JobStatus.CANCELLED,
        and_(JobRow.status == JobStatus.FAILED, JobRow.error_class == DEADLINE_EXCEEDED.error_class),
        and_(
            or_(JobRow.status == JobStatus.RUNNING, JobRow.finished_at.is_not(None)), JobRow.worker_id != worker_id
        ),
    )
    rows = connection.execute(select(JobRow.id, JobRow.status).where(JobRow.id.in_(jobs), gone))
    return {row.id: row.status for row in rows}


def release_all(tx: Transaction, worker_id: uuid.UUID) -> list[Dispatch]:
    """Give back all that a stopping worker still owns, at once and without cost to the jobs; returns those."""
    rows = tx.connection.execute(_running_in_full, {"worker": worker_id}).all()
    given_back = [_give_back(tx, row) for row in rows]
    return [job for job in given_back if job is not None]


def _give_back(tx: Transaction, row: AnyRow) -> Dispatch | None:
    released = moves.release(tx, row.id, row.attempt)
    if released is None:
        return None
    end_attempt(tx, row, AttemptOutcome.RELEASED)
    given_back = dispatch_of(released)
    tx.dispatch(given_back)
    return given_back


def _rescue(tx: Transaction, lost: Iterable[tuple[AnyRow, Failure]], decide: DecideLoss) -> list[Lost]:
    taken = [_take_away(tx, row, why, decide) for row, why in lost]
    return [job for job in taken if job is not None]


def _take_away(tx: Transaction, row: AnyRow, why: Failure, decide: DecideLoss) -> Lost | None:
    """Take one attempt from its worker; None where that worker does not own the job any more."""
    if why is GIVEN_UP:
        return _lost_one(row, why, None) if _give_back(tx, row) else None
    decided = decide(row, why)
    if isinstance(decided, RetryLater):
        if not decided.delay and moves.any_strict(tx, row.limits):
            decided = replace(decided, delay=_MOMENT)
        moved = moves.retry(tx, row.id, row.attempt, decided)
        if moved is None:
            return None
        outcome = AttemptOutcome.RETRIED
        dispatch_queued(tx, [moved])
    else:
        dead = moves.fail(tx, row.id, row.attempt, decided)
        if dead is None:
            return None
        outcome = AttemptOutcome.FAILED
        fail_for_good(tx, dead, needs_person=decided.needs_person)
    if why.category == WORKER_LOST.category:
        outcome = AttemptOutcome.LOST
    end_attempt(tx, row, outcome, why)
    return _lost_one(row, why, decided)


def _lost_one(row: AnyRow, why: Failure, becomes: RetryLater | Fail | None) -> Lost:
    return Lost(RunningAttempt(row.id, row.attempt), row.step, getattr(row, "worker", None), why, becomes)
