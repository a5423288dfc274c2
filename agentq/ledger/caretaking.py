"""What keeps the ledger moving when workers, messages and time do what they do. Every call is bounded."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Uuid, and_, bindparam, func, or_, select

from agentq.ledger import transition
from agentq.ledger.handover import bury, close_fan_in
from agentq.ledger.history import write_history
from agentq.ledger.knowledge import Knowledge
from agentq.ledger.losses import DEADLINE_EXCEEDED, GIVEN_UP, WORKER_LOST
from agentq.ledger.models import JobRow, WorkerRow, WorkflowRow
from agentq.ledger.records import Bell, bell
from agentq.ledger.skipping import distinct
from agentq.ledger.transition import Overtaken
from agentq.ledger.types import AnyRow, now
from agentq.ledger.workflows import cancel, give_up
from agentq.outcomes import Fail, Failure, RetryLater
from agentq.states import AttemptOutcome, JobStatus, WorkflowStatus


def _of_workflow(column: Any) -> Any:
    return select(column).where(WorkflowRow.id == JobRow.workflow_id).scalar_subquery().label(column.key)


_HELD: tuple[Any, ...] = (
    JobRow.id,
    JobRow.workflow_id,
    JobRow.kind,
    JobRow.step,
    JobRow.attempt,
    JobRow.max_attempts,
    JobRow.attempts_before,
    JobRow.uncounted,
    JobRow.waits,
    JobRow.paused,
    JobRow.waited,
    JobRow.worker_id,
    JobRow.started_at,
    JobRow.deadline_at,
    *(_of_workflow(column) for column in (WorkflowRow.policy, WorkflowRow.terms)),
    now().label("seen_at"),
)

_worker = select(WorkerRow.hostname).where(WorkerRow.id == JobRow.worker_id).scalar_subquery()
_lost = (
    select(*_HELD, func.coalesce(_worker, "(unknown)").label("worker"))
    .where(transition.LOST)
    .limit(bindparam("most"))
    .with_for_update(skip_locked=True, key_share=True, of=JobRow)
)
HELD_BY = and_(JobRow.status == JobStatus.RUNNING, JobRow.worker_id == bindparam("worker", type_=Uuid()))
"""A job that the ledger says this worker is running."""
_held_by = select(JobRow.id, JobRow.attempt).where(HELD_BY)
_held_in_full = select(*_HELD).where(HELD_BY)
_queues = distinct(JobRow.queue, JobRow.status == JobStatus.QUEUED)
UNCLAIMED_QUEUES = select(_queues).where(
    select(JobRow.id).where(transition.UNCLAIMED, JobRow.queue == _queues.c.queue).exists()
)
"""The queues in which nobody came for a job."""
# In a failed workflow it waits for a replay: that makes the workflow run, and then it is cancelled.
EXPIRED = (
    select(*transition.DEAD, JobRow.step)
    .join(WorkflowRow, and_(WorkflowRow.id == JobRow.workflow_id, WorkflowRow.status == WorkflowStatus.RUNNING))
    .where(
        JobRow.expires_at <= now(),
        JobRow.finished_at.is_(None),
        JobRow.status.in_([JobStatus.SCHEDULED, JobStatus.QUEUED]),
    )
)
"""The jobs whose expiry passed before they ran."""
OVERDUE_WORKFLOWS = select(WorkflowRow.id).where(
    WorkflowRow.deadline_at <= now(), WorkflowRow.finished_at.is_(None)
)
"""The workflows that were not done by their deadline."""
_expired = EXPIRED.limit(bindparam("most"))
_overdue_workflows = OVERDUE_WORKFLOWS.limit(bindparam("most"))


Judge = Callable[[AnyRow, Failure], RetryLater | Fail]
"""Says what becomes of a lost attempt, from its row and the reason of its loss."""


@dataclass(frozen=True, slots=True)
class Held:
    """An attempt that the ledger says is running."""

    job_id: uuid.UUID
    attempt: int


@dataclass(frozen=True, slots=True)
class Lost:
    """An attempt that was taken from its worker: why, and what becomes of its job."""

    held: Held
    step: str
    worker: str | None
    """The worker whose lease is over; None for one that lives."""
    why: Failure
    becomes: RetryLater | Fail | None
    """None: it is given back, and the attempt does not count."""


@dataclass(frozen=True, slots=True)
class Rescued:
    """What a rescue led to."""

    bells: tuple[Bell, ...] = ()
    jobs: tuple[Lost, ...] = ()


@dataclass(frozen=True, slots=True)
class Ended:
    """How many were ended, and what goes on without them."""

    count: int
    bells: tuple[Bell, ...]


def dispatch_due(connection: Connection, most: int) -> list[Bell]:
    """Queue up to *most* jobs whose time has come and return their bells."""
    return [bell(row) for row in transition.queue_due(connection, most)]


def rescue_lost(connection: Connection, judge: Judge, most: int) -> Rescued:
    """Take up to *most* jobs from workers whose lease is over: to be tried again, or failed for good."""
    rows = transition.by_workflow(connection.execute(_lost, {"most": most}))
    return _rescue(connection, ((row, WORKER_LOST) for row in rows), judge)


def held_by(connection: Connection, worker_id: uuid.UUID) -> frozenset[Held]:
    """Return the attempts that the ledger says this worker is running."""
    rows = connection.execute(_held_by, {"worker": worker_id})
    return frozenset(Held(row.id, row.attempt) for row in rows)


def rescue_abandoned(
    connection: Connection,
    worker_id: uuid.UUID,
    abandoned: Mapping[Held, Failure],
    judge: Judge,
) -> Rescued:
    """Take the given attempts from a worker that lives but does not run them, each for its reason."""
    held_now = connection.execute(_held_in_full, {"worker": worker_id}).all()
    rows = {Held(row.id, row.attempt): row for row in held_now}
    found = [(rows[held], why) for held, why in abandoned.items() if held in rows]
    return _rescue(connection, sorted(found, key=lambda pair: pair[0].workflow_id), judge)


def taken_away(connection: Connection, worker_id: uuid.UUID, jobs: Collection[uuid.UUID]) -> dict[uuid.UUID, str]:
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


def release_all(connection: Connection, worker_id: uuid.UUID) -> list[Bell]:
    """Give back all that a stopping worker still holds, at once and without cost to the jobs."""
    bells: list[Bell] = []
    for row in connection.execute(_held_in_full, {"worker": worker_id}).all():
        bells += _give_back(connection, row)
    return bells


def queues_with_unclaimed(connection: Connection, grace: float) -> list[str]:
    """Return the queues in which a job's last bell was rung over *grace* seconds ago, and nobody came.

    Its message may be lost, or just wait its turn. The grace grows after each ringing.
    """
    return [str(queue) for queue in connection.scalars(UNCLAIMED_QUEUES, {"grace": grace})]


def ring_again(
    connection: Connection,
    queue: str,
    grace: float,
    most: int,
    overtaken: Overtaken | None = None,
    in_hand: Collection[uuid.UUID] = (),
    knows: Knowledge | None = None,
) -> list[Bell]:
    """Note one more dispatch of up to *most* unclaimed jobs of a queue and return their bells.

    *overtaken* narrows it to jobs that later messages have overtaken; *in_hand* are jobs whose messages the
    caller has, and *knows* what it can run: whoever cannot run a job has no cause to call for it.
    """
    return [bell(row) for row in transition.ring_again(connection, queue, grace, overtaken, in_hand, most, knows)]


def pass_on(connection: Connection, jobs: Sequence[uuid.UUID]) -> list[Bell]:
    """Note that those *jobs* that are still queued are sent to another worker, and return their bells."""
    return [bell(row) for row in transition.pass_on(connection, jobs)]


def expire(connection: Connection, most: int) -> Ended:
    """Cancel up to *most* jobs whose expiry passed before they ran, and what needs them."""
    bells: list[Bell] = []
    expired = connection.execute(_expired, {"most": most}).all()
    for row in expired:
        why = Failure("expired", "agentq.Expired", f"step {row.step!r} expired before it ran")
        bells += give_up(connection, row, actor="agentq", why=why)
    return Ended(len(expired), tuple(bells))


def end_overdue(connection: Connection, most: int) -> Ended:
    """End up to *most* jobs and fan-ins whose deadline has passed: jobs fail, fan-ins go on with what is there."""
    bells: list[Bell] = []
    overdue = transition.lock_overdue(connection, most)
    for row in overdue:
        if transition.fail_overdue(connection, row, DEADLINE_EXCEEDED):
            if row.status == JobStatus.RUNNING:
                write_history(connection, row, AttemptOutcome.FAILED, DEADLINE_EXCEEDED)
            bells += bury(connection, row)
    fan_ins = transition.overdue_fan_ins(connection, most)
    for fan_in in fan_ins:
        bells += close_fan_in(connection, fan_in.id, fan_in.workflow_id)
    return Ended(len(overdue) + len(fan_ins), tuple(bells))


def cancel_overdue(connection: Connection, most: int) -> int:
    """Cancel up to *most* workflows that were not done by their deadline; returns how many."""
    overdue = connection.scalars(_overdue_workflows, {"most": most}).all()
    return sum(
        cancel(connection, workflow_id, actor="agentq", reason="it was not done within its deadline")
        for workflow_id in overdue
    )


def _give_back(connection: Connection, row: AnyRow) -> list[Bell]:
    released = transition.release(connection, row.id, row.attempt)
    if released is None:
        return []
    write_history(connection, row, AttemptOutcome.RELEASED)
    return [bell(released)]


def _rescue(connection: Connection, lost: Iterable[tuple[AnyRow, Failure]], judge: Judge) -> Rescued:
    bells: list[Bell] = []
    jobs: list[Lost] = []
    for row, why in lost:
        if why is GIVEN_UP:
            given_back = _give_back(connection, row)
            bells += given_back
            jobs += [_lost_one(row, why, None)] if given_back else []
            continue
        outcome = AttemptOutcome.RETRIED
        judged = judge(row, why)
        if isinstance(judged, RetryLater):
            moved = transition.retry(connection, row.id, row.attempt, judged)
            if moved is None:
                continue
            if moved.status == JobStatus.QUEUED:
                bells.append(bell(moved))
        else:
            dead = transition.fail(connection, row.id, row.attempt, judged)
            if dead is None:
                continue
            bells += bury(connection, dead, needs_person=judged.needs_person)
            outcome = AttemptOutcome.FAILED
        if why.category == WORKER_LOST.category:
            outcome = AttemptOutcome.LOST
        write_history(connection, row, outcome, why)
        jobs.append(_lost_one(row, why, judged))
    return Rescued(tuple(bells), tuple(jobs))


def _lost_one(row: AnyRow, why: Failure, becomes: RetryLater | Fail | None) -> Lost:
    return Lost(Held(row.id, row.attempt), row.step, getattr(row, "worker", None), why, becomes)
