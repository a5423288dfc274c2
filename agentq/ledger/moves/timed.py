"""The moves that time makes: what is due, unclaimed or lost."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    Boolean,
    Float,
    Integer,
    String,
    and_,
    bindparam,
    case,
    literal,
    or_,
    select,
    update,
)

from agentq.ledger.db.leaps import distinct_by_index
from agentq.ledger.db.types import AnyRow, UtcDateTime, now, seconds_from_now
from agentq.ledger.knowledge import Knowledge
from agentq.ledger.models import JobRow, WorkerRow
from agentq.ledger.moves.holds import SLOTS_ARE_ITS_OWN
from agentq.ledger.moves.ready import READY, due
from agentq.ledger.moves.shared import DEAD, DISPATCH, FAILURE, JOB_ID, failure_values
from agentq.ledger.transaction import Transaction
from agentq.outcomes import Failure
from agentq.states import FAN_INS, RUNNABLE, JobKind, JobStatus

DUE = and_(JobRow.status == JobStatus.SCHEDULED, JobRow.due_at <= now(), SLOTS_ARE_ITS_OWN)
"""A job whose time has come, but for one whose slots a lost attempt may have to keep."""
_DUE = (
    select(JobRow.id, JobRow.kind)
    .where(DUE)
    .order_by(JobRow.due_at, JobRow.id)
    .limit(bindparam("most"))
    .with_for_update(skip_locked=True, key_share=True)
)
_QUEUE_DUE = (
    update(JobRow)
    .where(JobRow.id.in_(bindparam("job_ids", expanding=True)), JobRow.status == JobStatus.SCHEDULED)
    .values(READY)
    .returning(*DISPATCH)
)
_END_SLEEP = (
    update(JobRow)
    .where(JobRow.id == JOB_ID, JobRow.kind == JobKind.SLEEP, DUE)
    .values(status=JobStatus.SUCCEEDED, result=bindparam("new_result"), finished_at=now())
    .returning(JobRow.id, JobRow.workflow_id, JobRow.join_id, JobRow.is_last)
)
_SCHEDULE_NOW = (
    update(JobRow)
    .where(JobRow.id.in_(bindparam("job_ids", expanding=True)), JobRow.status == JobStatus.QUEUED)
    .values(due(now()))
)
_EXPIRE_RUNNING = (
    update(JobRow)
    .where(
        JobRow.id == JOB_ID,
        JobRow.status == JobStatus.RUNNING,
        or_(JobRow.expires_at.is_(None), JobRow.expires_at > now()),
    )
    .values(expires_at=now())
)
# Redispatched after a pause that grows, so that a job that no worker can run does not flood the broker.
_grace = bindparam("grace", type_=Float())
_pause = _grace * literal(1).op("<<")(case((JobRow.dispatches > 3, 3), else_=JobRow.dispatches))
UNCLAIMED = and_(
    JobRow.status == JobStatus.QUEUED,
    JobRow.dispatched_at < seconds_from_now(-_grace),  # no pause is shorter, and this one the index knows
    JobRow.dispatched_at < seconds_from_now(-_pause),
    or_(JobRow.expires_at.is_(None), JobRow.expires_at > now()),
)
"""A job that was dispatched over ``grace`` seconds ago, more after each dispatch, and that is not claimed."""
_TO_REDISPATCH = (
    select(JobRow.id)
    .where(
        UNCLAIMED,
        JobRow.queue == bindparam("on_queue"),
        JobRow.id.not_in(bindparam("reserved", expanding=True)),
        or_(
            bindparam("any_step", type_=Boolean()),
            and_(JobRow.kind.in_(sorted(RUNNABLE)), JobRow.step.in_(bindparam("steps", expanding=True))),
            and_(JobRow.kind == JobKind.TASK, JobRow.step.in_(bindparam("tasks", expanding=True))),
        ),
        or_(
            bindparam("before", type_=UtcDateTime()).is_(None),
            and_(
                JobRow.dispatched_at < bindparam("before", type_=UtcDateTime()),
                JobRow.priority.is_not_distinct_from(bindparam("of_priority", type_=Integer())),
            ),
        ),
    )
    .order_by(JobRow.dispatched_at, JobRow.id)
    .limit(bindparam("most"))
)
_REDISPATCH = (
    update(JobRow)
    .where(JobRow.id.in_(bindparam("job_ids", expanding=True)), UNCLAIMED)
    .values(dispatched_at=now(), dispatches=JobRow.dispatches + 1)
    .returning(*DISPATCH)
)
_PASS_ON = (
    update(JobRow)
    .where(JobRow.id.in_(bindparam("job_ids", expanding=True)), JobRow.status == JobStatus.QUEUED)
    .values(dispatched_at=now())
    .returning(*DISPATCH)
)
OVERDUE = and_(JobRow.deadline_at <= now(), JobRow.finished_at.is_(None))
"""A job or a fan-in whose deadline has passed."""
_is_fan_in = JobRow.kind.in_(sorted(FAN_INS))
_OVERDUE = (
    select(*DEAD, JobRow.status, JobRow.attempt, JobRow.worker_id, JobRow.started_at, JobRow.limits)
    .where(OVERDUE, ~_is_fan_in)
    .order_by(JobRow.deadline_at)
    .limit(bindparam("most"))
    .with_for_update(skip_locked=True, key_share=True)
)
_OVERDUE_FAN_INS = (
    select(JobRow.id, JobRow.workflow_id)
    .where(OVERDUE, _is_fan_in)
    .order_by(JobRow.deadline_at)
    .limit(bindparam("most"))
)
_FAIL_OVERDUE = (
    update(JobRow)
    .where(
        JobRow.id == JOB_ID,
        JobRow.attempt == bindparam("seen_attempt", type_=Integer()),
        JobRow.status == bindparam("seen_status", type_=String()),
        JobRow.deadline_at <= now(),
    )
    .values(status=JobStatus.FAILED, finished_at=now(), due_reason=None, **FAILURE)
)
_workers = distinct_by_index(JobRow.worker_id, JobRow.status == JobStatus.RUNNING)
_leased = select(WorkerRow.id).where(WorkerRow.id == _workers.c.worker_id, WorkerRow.lease_until >= now()).exists()
LOST_WORKERS = select(_workers.c.worker_id).where(_workers.c.worker_id.is_not(None), ~_leased)
"""The workers that run jobs, says the ledger, though they have no lease any more."""
LOST = and_(JobRow.status == JobStatus.RUNNING, JobRow.worker_id.in_(LOST_WORKERS))
"""A running job whose worker has no lease any more."""


@dataclass(frozen=True, slots=True)
class Overtaken:
    """Jobs of one priority whose messages should have come by now, since later ones have."""

    priority: int | None
    before: datetime


def queue_due(tx: Transaction, most: int) -> tuple[list[AnyRow], list[uuid.UUID]]:
    """Scheduled to queued for up to *most* jobs whose time has come; also returns the sleeps that are over."""
    due = tx.connection.execute(_DUE, {"most": most}).all()
    jobs = [row.id for row in due if row.kind != JobKind.SLEEP]
    queued = _in_order_of(jobs, tx.connection.execute(_QUEUE_DUE, {"job_ids": jobs}).all()) if jobs else []
    return queued, [row.id for row in due if row.kind == JobKind.SLEEP]


def end_sleep(tx: Transaction, job_id: uuid.UUID, result: str) -> AnyRow | None:
    """Scheduled to succeeded for a sleep that is over; its id, workflow_id, join_id and is_last, or None."""
    return tx.connection.execute(_END_SLEEP, {"job_id": job_id, "new_result": result}).one_or_none()


def schedule_now(tx: Transaction, jobs: Sequence[uuid.UUID]) -> None:
    """Queued to scheduled, due at once, for those *jobs* that are not claimed."""
    if jobs:
        tx.connection.execute(_SCHEDULE_NOW, {"job_ids": list(jobs)})


def schedule_dispatches(tx: Transaction) -> None:
    """Leave the jobs that *tx* has to dispatch to a caretaker, for a caller that may have no way to the broker."""
    schedule_now(tx, [job.job_id for job in tx.take_dispatches()])


def expire_running(tx: Transaction, job_id: uuid.UUID) -> bool:
    """Let the attempt that runs be the job's last; False where none runs, or it is the last one already."""
    return tx.connection.execute(_EXPIRE_RUNNING, {"job_id": job_id}).rowcount == 1


def redispatch_unclaimed(tx: Transaction, jobs: Sequence[uuid.UUID], grace: float) -> list[AnyRow]:
    """Redispatch those *jobs* that are UNCLAIMED; the columns of DISPATCH for each."""
    values = {"job_ids": list(jobs), "grace": grace}
    return _in_order_of(jobs, tx.connection.execute(_REDISPATCH, values).all()) if jobs else []


def pass_on(tx: Transaction, jobs: Sequence[uuid.UUID]) -> list[AnyRow]:
    """Note that those *jobs* that are queued are sent to another worker. No message was lost: none is counted."""
    return _in_order_of(jobs, tx.connection.execute(_PASS_ON, {"job_ids": list(jobs)}).all()) if jobs else []


def lock_overdue(tx: Transaction, most: int) -> list[AnyRow]:
    """Lock up to *most* jobs whose deadline passed, and return them."""
    return by_workflow(tx.connection.execute(_OVERDUE, {"most": most}))


def overdue_fan_ins(tx: Transaction, most: int) -> list[AnyRow]:
    """Return id and workflow_id of up to *most* overdue fan-ins, not locked: their members are locked first."""
    return by_workflow(tx.connection.execute(_OVERDUE_FAN_INS, {"most": most}))


def fail_overdue(tx: Transaction, seen: AnyRow, failure: Failure) -> bool:
    """Fail a job whose deadline passed, unless it has moved since it was *seen* by ``lock_overdue``."""
    values = {"job_id": seen.id, "seen_attempt": seen.attempt, "seen_status": seen.status}
    return tx.connection.execute(_FAIL_OVERDUE, values | failure_values(failure)).rowcount == 1


def redispatch(
    tx: Transaction,
    queue: str,
    grace: float,
    overtaken: Overtaken | None,
    reserved: Collection[uuid.UUID],
    most: int,
    knows: Knowledge | None = None,
) -> list[AnyRow]:
    """Redispatch up to *most* UNCLAIMED jobs; the columns of DISPATCH for each, oldest first.

    Only those that a worker which *knows* so much can run; None for all.
    """
    values: dict[str, Any] = {"on_queue": queue, "grace": grace, "most": most, "before": None, "of_priority": None}
    values |= {"reserved": list(reserved), "any_step": knows is None}
    values |= {"steps": sorted(knows.steps) if knows else [], "tasks": sorted(knows.tasks) if knows else []}
    if overtaken is not None:
        values |= {"before": overtaken.before, "of_priority": overtaken.priority}
    found = tx.connection.scalars(_TO_REDISPATCH, values).all()
    return redispatch_unclaimed(tx, found, grace)


def by_workflow(rows: Iterable[AnyRow]) -> list[AnyRow]:
    """Sort jobs as all do who fail them, so that their workflows are locked in one order.

    Not by the database, which may then read all jobs in this order to find a few.
    """
    return sorted(rows, key=lambda row: (row.workflow_id, row.id))


def _in_order_of(ids: Sequence[uuid.UUID], rows: Sequence[AnyRow]) -> list[AnyRow]:
    """Sort the rows of RETURNING, which has no order, as they were asked for: the longest wait comes first."""
    places = {job_id: place for place, job_id in enumerate(ids)}
    return sorted(rows, key=lambda row: places[row.id])
