"""What keeps the ledger moving when workers, messages and time do what they do. Every call is bounded."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, func, select

from agentq.ledger import transition
from agentq.ledger.attempts import write_history
from agentq.ledger.handover import fail_workflow
from agentq.ledger.models import JobRow
from agentq.ledger.records import Bell, bell
from agentq.ledger.transition import Overtaken
from agentq.ledger.types import AnyRow, now
from agentq.ledger.workflows import cancel
from agentq.outcomes import Failure
from agentq.states import AttemptOutcome, JobStatus

WORKER_LOST = Failure(
    "worker_lost",
    "agentq.WorkerLost",
    "the worker process died, was killed or lost its lease while it ran this attempt",
)
_HELD: tuple[Any, ...] = (
    JobRow.id,
    JobRow.workflow_id,
    JobRow.attempt,
    JobRow.max_attempts,
    JobRow.worker_id,
    JobRow.started_at,
)


_lost = (
    select(*_HELD)
    .where(transition.LOST)
    .limit(bindparam("most"))
    .with_for_update(skip_locked=True, key_share=True, of=JobRow)
)
_held_by = select(*_HELD).where(JobRow.status == JobStatus.RUNNING, JobRow.worker_id == bindparam("worker"))
_first_queue = (
    select(func.min(JobRow.queue).label("queue"))
    .where(JobRow.status == JobStatus.QUEUED)
    .cte("queues", recursive=True)
)
# One look into the index per queue, however many jobs wait there.
_queues = _first_queue.union_all(
    select(
        select(func.min(JobRow.queue))
        .where(JobRow.status == JobStatus.QUEUED, JobRow.queue > _first_queue.c.queue)
        .scalar_subquery()
    ).where(_first_queue.c.queue.is_not(None))
)
_UNCLAIMED_QUEUES = select(_queues.c.queue).where(
    _queues.c.queue.is_not(None),
    select(JobRow.id).where(transition.UNCLAIMED, JobRow.queue == _queues.c.queue).exists(),
)
_expired = (
    select(JobRow.workflow_id, JobRow.step)
    .where(
        JobRow.expires_at <= now(),
        JobRow.finished_at.is_(None),
        JobRow.status.in_([JobStatus.SCHEDULED, JobStatus.QUEUED]),
    )
    .limit(bindparam("most"))
)


@dataclass(frozen=True, slots=True)
class Held:
    """An attempt that the ledger says is running."""

    job_id: uuid.UUID
    attempt: int


@dataclass(frozen=True, slots=True)
class Rescued:
    """What a rescue led to."""

    bells: tuple[Bell, ...] = ()
    jobs: tuple[Held, ...] = ()


def dispatch_due(connection: Connection, most: int) -> list[Bell]:
    """Queue up to *most* jobs whose time has come and return their bells."""
    return [bell(row) for row in transition.queue_due(connection, most)]


def rescue_lost(connection: Connection, backoff: Callable[[int], float], most: int) -> Rescued:
    """Take up to *most* jobs from workers whose lease is over: to be tried again, or failed for good.

    *backoff* gives the seconds to wait after the attempt of a given number.
    """
    return _rescue(connection, connection.execute(_lost, {"most": most}).all(), backoff)


def held_by(connection: Connection, worker_id: uuid.UUID) -> frozenset[Held]:
    """Return the attempts that the ledger says this worker is running."""
    rows = connection.execute(_held_by, {"worker": worker_id})
    return frozenset(Held(row.id, row.attempt) for row in rows)


def rescue_abandoned(
    connection: Connection, worker_id: uuid.UUID, abandoned: frozenset[Held], backoff: Callable[[int], float]
) -> Rescued:
    """Take the given attempts from a worker that lives but does not run them: its child was killed."""
    rows = connection.execute(_held_by, {"worker": worker_id}).all()
    return _rescue(connection, [row for row in rows if Held(row.id, row.attempt) in abandoned], backoff)


def release_all(connection: Connection, worker_id: uuid.UUID) -> list[Bell]:
    """Give back all that a stopping worker still holds, at once and without cost to the jobs."""
    bells = []
    for row in connection.execute(_held_by, {"worker": worker_id}).all():
        released = transition.release(connection, row.id, row.attempt)
        if released is not None:
            write_history(connection, row, AttemptOutcome.RELEASED)
            bells.append(bell(released))
    return bells


def queues_with_unclaimed(connection: Connection, grace: float) -> list[str]:
    """Return the queues in which a job's last bell was rung over *grace* seconds ago, and nobody came.

    Its message may be lost, or just wait its turn. The grace grows after each ringing.
    """
    return [str(queue) for queue in connection.scalars(_UNCLAIMED_QUEUES, {"grace": grace})]


def ring_again(
    connection: Connection,
    queue: str,
    grace: float,
    most: int,
    overtaken: Overtaken | None = None,
    in_hand: Collection[uuid.UUID] = (),
) -> list[Bell]:
    """Note one more dispatch of up to *most* unclaimed jobs of a queue and return their bells.

    *overtaken* narrows it to jobs that later messages have overtaken; *in_hand* are jobs whose messages the
    caller has.
    """
    return [bell(row) for row in transition.ring_again(connection, queue, grace, overtaken, in_hand, most)]


def expire(connection: Connection, most: int) -> int:
    """Cancel workflows of which a job's expiry passed before it ran; returns how many."""
    rows = connection.execute(_expired, {"most": most}).all()
    return sum(
        cancel(connection, row.workflow_id, actor="agentq", reason=f"step {row.step!r} expired before it ran")
        for row in rows
    )


def _rescue(connection: Connection, rows: Sequence[AnyRow], backoff: Callable[[int], float]) -> Rescued:
    bells: list[Bell] = []
    jobs: list[Held] = []
    for row in rows:
        if row.attempt < row.max_attempts:
            moved = transition.retry(connection, row.id, row.attempt, WORKER_LOST, backoff(row.attempt))
            if moved is None:
                continue
            if moved.status == JobStatus.QUEUED:
                bells.append(bell(moved))
        elif transition.fail(connection, row.id, row.attempt, WORKER_LOST):
            fail_workflow(connection, row.workflow_id, row.id)
        else:
            continue
        write_history(connection, row, AttemptOutcome.LOST, WORKER_LOST)
        jobs.append(Held(row.id, row.attempt))
    return Rescued(tuple(bells), tuple(jobs))
