"""The one place where a status changes. Every move is one guarded UPDATE; no row means the move was lost.

The guard of a worker's write is ``status = 'running' AND attempt = :attempt``: attempts only ever grow, so a
worker that lost its job to another attempt, to a rescue or to a cancel cannot write.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    CTE,
    Connection,
    Float,
    Integer,
    String,
    Uuid,
    and_,
    bindparam,
    case,
    cast,
    insert,
    literal,
    literal_column,
    null,
    or_,
    select,
    true,
    union_all,
    update,
)
from sqlalchemy.orm import aliased

from agentq.ledger.models import AttemptRow, JobRow, WorkerRow, WorkflowRow
from agentq.ledger.records import Claim
from agentq.ledger.types import AnyRow, UtcDateTime, now, seconds_from_now
from agentq.outcomes import Failure
from agentq.states import JOB_OPEN, VIRTUAL, AttemptOutcome, JobKind, JobStatus, WorkflowStatus

BELL: tuple[Any, ...] = (
    JobRow.id,
    JobRow.workflow_id,
    JobRow.after_id,
    JobRow.tenant,
    JobRow.step,
    JobRow.queue,
    JobRow.priority,
    JobRow.timeout,
    JobRow.dispatched_at,
    JobRow.status,
    JobRow.kind,
)
"""What a bell and its sender need to know of a job."""

_id = bindparam("job_id", type_=Uuid())
_before = aliased(JobRow)
_mine = and_(
    JobRow.id == _id,
    JobRow.status == JobStatus.RUNNING,
    JobRow.attempt == bindparam("held_attempt", type_=Integer()),
)

_CLAIM = (
    update(JobRow)
    .where(
        JobRow.id == _id,
        # The message has no authority: its name must be the job's, or the carrier's for a plain task.
        case(
            (JobRow.kind == JobKind.TASK, bindparam("named", type_=String()).is_(None)),
            else_=JobRow.step == bindparam("named", type_=String()),
        ),
        # The second arm recognises a claim of mine whose commit got no answer.
        or_(
            and_(
                JobRow.status == JobStatus.QUEUED,
                JobRow.attempt < JobRow.max_attempts,
                or_(JobRow.expires_at.is_(None), JobRow.expires_at > now()),
            ),
            and_(JobRow.status == JobStatus.RUNNING, JobRow.claim_token == bindparam("token")),
        ),
    )
    .values(
        status=JobStatus.RUNNING,
        attempt=JobRow.attempt + case((JobRow.status == JobStatus.RUNNING, 0), else_=1),
        claim_token=bindparam("token"),
        worker_id=bindparam("worker"),
        started_at=now(),
    )
    .returning(
        JobRow.workflow_id,
        JobRow.tenant,
        JobRow.kind,
        JobRow.step,
        JobRow.attempt,
        JobRow.max_attempts,
        JobRow.started_at,
        JobRow.timeout,
        JobRow.arguments,
        JobRow.immutable,
        JobRow.after_id,
        JobRow.join_id,
        JobRow.is_last,
        JobRow.is_plain,
        case(
            (
                JobRow.immutable.is_(False),
                # Named in full: within RETURNING, SQLAlchemy drops the table's name on SQLite.
                select(_before.result)
                .where(_before.id == literal_column("agentq_jobs.after_id", Uuid()))
                .scalar_subquery(),
            ),
        ).label("inputs"),
    )
)

_SUCCEED = (
    update(JobRow)
    .where(_mine)
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

_FAILURE: dict[str, Any] = {
    "error_category": bindparam("category"),
    "error_class": bindparam("class_name"),
    "error_message": bindparam("message"),
}
_delay = bindparam("seconds", type_=Float())
_RETRY = (
    update(JobRow)
    .where(_mine)
    .values(
        status=case((_delay > 0, JobStatus.SCHEDULED), else_=JobStatus.QUEUED),
        due_at=seconds_from_now(_delay),
        dispatched_at=now(),
        dispatches=0,
        **_FAILURE,
    )
    .returning(*BELL)
)
_FAIL = update(JobRow).where(_mine).values(status=JobStatus.FAILED, finished_at=now(), **_FAILURE)
_RELEASE = (
    update(JobRow)
    .where(_mine)
    .values(
        status=JobStatus.QUEUED,
        # Being stopped is not the step's fault: the attempt keeps its number but not its cost.
        max_attempts=JobRow.max_attempts + 1,
        dispatched_at=now(),
        dispatches=0,
    )
    .returning(*BELL)
)

_WHEN_READY: dict[str, Any] = {
    "remaining": 0,
    "status": case(
        (JobRow.kind.in_(sorted(VIRTUAL)), JobStatus.WAITING),
        (or_(JobRow.delay.is_not(None), JobRow.due_at > now()), JobStatus.SCHEDULED),
        else_=JobStatus.QUEUED,
    ),
    "due_at": case((JobRow.delay.is_not(None), seconds_from_now(JobRow.delay)), else_=JobRow.due_at),
    "dispatched_at": now(),
}
_READY = (
    update(JobRow)
    .where(JobRow.after_id == _id, JobRow.status == JobStatus.WAITING)
    .values(_WHEN_READY)
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
    .where(JobRow.id == _id, JobRow.status == JobStatus.WAITING)
    .values(remaining=JobRow.remaining - 1)
    .returning(*_VIRTUAL)
)
_COUNT_ON = (
    update(JobRow)
    .where(JobRow.id == _id, JobRow.status == JobStatus.WAITING)
    .values(remaining=bindparam("members"))
    .returning(*_VIRTUAL)
)
_FINISH_VIRTUAL = (
    update(JobRow)
    .where(JobRow.id == _id, JobRow.status == JobStatus.WAITING)
    .values(status=JobStatus.SUCCEEDED, finished_at=now())
)
_FAIL_VIRTUAL = (
    update(JobRow)
    .where(JobRow.id == _id, JobRow.status == JobStatus.WAITING)
    .values(status=JobStatus.FAILED, finished_at=now(), **_FAILURE)
)

_END_WORKFLOW = (
    update(WorkflowRow)
    .where(WorkflowRow.id == bindparam("workflow"), WorkflowRow.status == WorkflowStatus.RUNNING)
    .values(
        status=cast(bindparam("new_status"), String(16)),
        finished_at=now(),
        failed_job_id=bindparam("failed_job", type_=Uuid()),
        reason=bindparam("why"),
    )
)
# PostgreSQL runs the whole common hand-over as one statement: one round trip, and no lock outlives it.
_done = _SUCCEED.returning(JobRow.id, JobRow.workflow_id, JobRow.join_id, JobRow.is_last).cte("done")
_history = (
    insert(AttemptRow)
    .from_select(
        ["job_id", "number", "outcome", "worker_id", "started_at", "finished_at"],
        select(
            _done.c.id,
            bindparam("held_attempt", type_=Integer()),
            cast(AttemptOutcome.SUCCEEDED, String(16)),
            bindparam("by_worker", type_=Uuid()),
            bindparam("began_at", type_=UtcDateTime()),
            now(),
        ),
    )
    .cte("history")
)
# Rows are named by scalar subqueries, never by a join: so each is found by its index, also by a plan that was
# made when the tables were empty.
_counted = (
    update(JobRow)
    .where(
        JobRow.id == select(_done.c.join_id).scalar_subquery(),
        JobRow.status == JobStatus.WAITING,
    )
    .values(
        remaining=JobRow.remaining - 1,
        status=case((JobRow.remaining == 1, JobStatus.SUCCEEDED), else_=JobRow.status),
        finished_at=case((JobRow.remaining == 1, now())),
    )
    .returning(JobRow.id, JobRow.workflow_id, JobRow.is_last, JobRow.status)
    .cte("counted")
)
_joined = select(_counted).where(_counted.c.status == JobStatus.SUCCEEDED).cte("joined")


def _readied_by(done: CTE, name: str) -> CTE:
    waits_for = select(done.c.id).scalar_subquery()
    return (
        update(JobRow)
        .where(JobRow.after_id == waits_for, JobRow.status == JobStatus.WAITING)
        .values(_WHEN_READY)
        .returning(*BELL)
        .cte(name)
    )


def _ended_by(done: CTE, name: str) -> CTE:
    ended = select(done.c.workflow_id).where(done.c.is_last).scalar_subquery()
    return (
        update(WorkflowRow)
        .where(WorkflowRow.id == ended, WorkflowRow.status == WorkflowStatus.RUNNING)
        .values(status=WorkflowStatus.SUCCEEDED, finished_at=now())
        .cte(name)
    )


_readied = union_all(
    select(_readied_by(_done, "readied_by_job")), select(_readied_by(_joined, "readied_by_join"))
).cte("readied")
_SUCCEED_PLAINLY = (
    select(_done.c.id.label("done_id"), *_readied.c)
    .select_from(_done.outerjoin(_readied, true()))
    .add_cte(_history, _ended_by(_done, "ended_by_job"), _ended_by(_joined, "ended_by_join"))
)

_CANCEL_JOBS = (
    update(JobRow)
    .where(JobRow.workflow_id == bindparam("workflow"), JobRow.status.in_(sorted(JOB_OPEN)))
    .values(status=JobStatus.CANCELLED, finished_at=now())
)

_DUE = (
    select(JobRow.id)
    .where(JobRow.status == JobStatus.SCHEDULED, JobRow.due_at <= now())
    .order_by(JobRow.due_at)
    .limit(bindparam("most"))
    .with_for_update(skip_locked=True, key_share=True)
)
_QUEUE_DUE = (
    update(JobRow)
    .where(JobRow.id.in_(bindparam("job_ids", expanding=True)), JobRow.status == JobStatus.SCHEDULED)
    .values(status=JobStatus.QUEUED, dispatched_at=now(), dispatches=0)
    .returning(*BELL)
)
# Rung again after a pause that grows, so that a job that nobody can run does not flood the broker.
_pause = bindparam("grace", type_=Float()) * literal(1).op("<<")(
    case((JobRow.dispatches > 6, 6), else_=JobRow.dispatches)
)
UNCLAIMED = and_(JobRow.status == JobStatus.QUEUED, JobRow.dispatched_at < seconds_from_now(-_pause))
"""A job whose bell was rung over ``grace`` seconds ago, more after each ringing, and that nobody claimed."""
_TO_RING = (
    select(JobRow.id)
    .where(
        UNCLAIMED,
        JobRow.queue == bindparam("on_queue"),
        JobRow.id.not_in(bindparam("in_hand", expanding=True)),
        or_(
            bindparam("before", type_=UtcDateTime()).is_(None),
            and_(
                JobRow.dispatched_at < bindparam("before", type_=UtcDateTime()),
                JobRow.priority.is_not_distinct_from(bindparam("of_priority", type_=Integer())),
            ),
        ),
    )
    .order_by(JobRow.dispatched_at)
    .limit(bindparam("most"))
)
_RING_AGAIN = (
    update(JobRow)
    .where(JobRow.id.in_(bindparam("job_ids", expanding=True)), UNCLAIMED)
    .values(dispatched_at=now(), dispatches=JobRow.dispatches + 1)
    .returning(*BELL)
)
_leased = select(WorkerRow.id).where(WorkerRow.id == JobRow.worker_id, WorkerRow.lease_until >= now()).exists()
LOST = and_(JobRow.status == JobStatus.RUNNING, ~_leased)
"""A running job whose worker has no lease any more."""


@dataclass(frozen=True, slots=True)
class Overtaken:
    """Jobs of one priority whose messages should have come by now, since later ones have."""

    priority: int | None
    before: datetime


def claim(
    connection: Connection, job_id: uuid.UUID, step: str | None, worker_id: uuid.UUID, token: int
) -> AnyRow | None:
    """Queued to running, counting the attempt. None: somebody else has it, or it is not to be run."""
    values = {"job_id": job_id, "named": step, "worker": worker_id, "token": token}
    return connection.execute(_CLAIM, values).one_or_none()


def new_claim_token() -> int:
    """Return a number that tells this claim from any other, also after a lost reply."""
    return random.getrandbits(62)


def succeed(connection: Connection, job_id: uuid.UUID, attempt: int, result: str) -> bool:
    """Running to succeeded; False where this attempt no longer holds the job."""
    values = {"job_id": job_id, "held_attempt": attempt, "new_result": result}
    return connection.execute(_SUCCEED, values).rowcount == 1


def succeed_plainly(connection: Connection, held: Claim, result: str) -> list[AnyRow] | None:
    """Running to succeeded, with history, hand-over and the workflow's end, in one statement.

    For jobs with ``is_plain``, on PostgreSQL. Returns the columns of BELL for each job that became ready, or
    None where this attempt no longer holds the job.
    """
    values = {"job_id": held.job_id, "held_attempt": held.attempt, "new_result": result}
    values |= {"by_worker": held.worker_id, "began_at": held.started_at}
    rows = connection.execute(_SUCCEED_PLAINLY, values).all()
    return [row for row in rows if row.id is not None] if rows else None


def retry(
    connection: Connection, job_id: uuid.UUID, attempt: int, failure: Failure, delay: float
) -> AnyRow | None:
    """Running to scheduled, or to queued without a delay; the columns of BELL, or None where it is lost."""
    values = {"job_id": job_id, "held_attempt": attempt, "seconds": delay, **_failure_values(failure)}
    return connection.execute(_RETRY, values).one_or_none()


def fail(connection: Connection, job_id: uuid.UUID, attempt: int, failure: Failure) -> bool:
    """Running to failed; False where this attempt no longer holds the job."""
    values = {"job_id": job_id, "held_attempt": attempt, **_failure_values(failure)}
    return connection.execute(_FAIL, values).rowcount == 1


def release(connection: Connection, job_id: uuid.UUID, attempt: int) -> AnyRow | None:
    """Running back to queued at once, without cost; for a worker that is being stopped."""
    return connection.execute(_RELEASE, {"job_id": job_id, "held_attempt": attempt}).one_or_none()


def ready_successors(connection: Connection, job_id: uuid.UUID) -> list[AnyRow]:
    """Waiting to queued or scheduled for the steps after *job_id*; what is virtual stays, for the hand-over."""
    return list(connection.execute(_READY, {"job_id": job_id}))


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
    values = {"job_id": job_id, **_failure_values(failure)}
    return connection.execute(_FAIL_VIRTUAL, values).rowcount == 1


def end_workflow(
    connection: Connection,
    workflow_id: uuid.UUID,
    status: WorkflowStatus,
    *,
    failed_job_id: uuid.UUID | None = None,
    reason: str | None = None,
) -> bool:
    """Running to a final status; False where it had ended already."""
    values = {"workflow": workflow_id, "new_status": status, "failed_job": failed_job_id, "why": reason}
    return connection.execute(_END_WORKFLOW, values).rowcount == 1


def cancel_jobs(connection: Connection, workflow_id: uuid.UUID) -> int:
    """Every job of the workflow that is not final to cancelled; returns how many."""
    return connection.execute(_CANCEL_JOBS, {"workflow": workflow_id}).rowcount


def queue_due(connection: Connection, most: int) -> list[AnyRow]:
    """Scheduled to queued for up to *most* jobs whose time has come."""
    due = connection.scalars(_DUE, {"most": most}).all()
    return list(connection.execute(_QUEUE_DUE, {"job_ids": due})) if due else []


def ring_again(
    connection: Connection,
    queue: str,
    grace: float,
    overtaken: Overtaken | None,
    in_hand: Collection[uuid.UUID],
    most: int,
) -> list[AnyRow]:
    """Note another dispatch of up to *most* UNCLAIMED jobs; the columns of BELL for each, oldest first."""
    values = {"on_queue": queue, "grace": grace, "most": most, "before": None, "of_priority": None}
    values["in_hand"] = list(in_hand)
    if overtaken is not None:
        values |= {"before": overtaken.before, "of_priority": overtaken.priority}
    found = connection.scalars(_TO_RING, values).all()
    return list(connection.execute(_RING_AGAIN, {"job_ids": found, "grace": grace})) if found else []


def _failure_values(failure: Failure) -> dict[str, str]:
    return {
        "category": failure.category,
        "class_name": failure.error_class,
        "message": failure.message,
    }
