"""Attempts at jobs: claim one, record its outcome and hand over, give it back."""

from __future__ import annotations

import json
import uuid

from sqlalchemy import Connection, bindparam, func, select
from sqlalchemy.orm import aliased

from agentq.ledger import transition
from agentq.ledger.completing import complete
from agentq.ledger.gathering import gather
from agentq.ledger.handover import Done, bury, hand_over
from agentq.ledger.history import NO_FAILURE, write_history
from agentq.ledger.knowledge import Need, parameters_at_start
from agentq.ledger.models import AttemptRow, JobRow, WorkflowRow
from agentq.ledger.prepared import Meanwhile
from agentq.ledger.records import Bell, Claim, Handed, Left, bell
from agentq.ledger.types import AnyRow, now
from agentq.ledger.workflows import give_up
from agentq.outcomes import Fail, Failure, GiveUp, Leave, Outcome, RetryLater, Succeed
from agentq.states import AttemptOutcome, JobKind, JobStatus

_SELF = select(*transition.BELL).where(JobRow.id == bindparam("job_id"), JobRow.status == JobStatus.QUEUED)
_SUCCESSORS = select(*transition.BELL).where(
    JobRow.after_id == bindparam("job_id"), JobRow.status == JobStatus.QUEUED
)

_each = aliased(JobRow)
_eaches_after = (_each.after_id == bindparam("job_id"), _each.kind == JobKind.EACH)
_their_workflow = select(_each.workflow_id).where(*_eaches_after).limit(1).scalar_subquery()
_grown_at = select(func.min(_each.dispatched_at)).where(*_eaches_after).scalar_subquery()
# The first jobs of an each's branches wait for nothing and were dispatched when it grew. Those of the workflow are
# found in a part of their own: PostgreSQL might begin with all that is queued, if it knew that they must be.
_first_jobs = (
    select(*transition.BELL)
    .where(JobRow.workflow_id == _their_workflow, JobRow.after_id.is_(None))
    .cte("first_jobs")
    .prefix_with("MATERIALIZED", dialect="postgresql")
)
_BRANCHES = select(_first_jobs).where(
    _first_jobs.c.status == JobStatus.QUEUED, _first_jobs.c.dispatched_at >= _grown_at
)


def claim(
    connection: Connection,
    job_id: uuid.UUID,
    step: str | None,
    worker_id: uuid.UUID,
    token: int,
    early_after: uuid.UUID | None = None,
    sent_to: str | None = None,
) -> Claim | None:
    """Take a job for execution, with its arguments and the result it starts from.

    *step* is the name that the message has; None for the carrier of plain tasks. *early_after* is the job before
    it, where the message was sent before that one's completion was committed; *sent_to* the queue that it was sent
    to, where it says so: a job that was moved since is not claimed by it. Returns None where the job is not to
    be run now: done, running, cancelled, not due, unknown, or of another name.
    """
    row = transition.claim(connection, job_id, step, worker_id, token, early_after, sent_to)
    if row is None:
        return None
    inputs = row.inputs
    if inputs is None and row.after_id is not None and not row.immutable:
        inputs = gather(connection, row.after_id)
    return Claim(
        job_id=job_id,
        workflow_id=row.workflow_id,
        tenant=row.tenant,
        kind=row.kind,
        step=row.step,
        attempt=row.attempt,
        max_attempts=row.max_attempts,
        attempts_before=row.attempts_before,
        uncounted=row.uncounted,
        waits=row.waits,
        paused=row.paused,
        waited=row.waited,
        deadline_at=row.deadline_at,
        worker_id=worker_id,
        started_at=row.started_at,
        timeout=row.timeout,
        arguments=row.arguments,
        inputs=inputs,
        join_id=row.join_id,
        is_last=row.is_last,
        is_plain=row.is_plain,
        successor=_only_successor(job_id, row),
    )


def is_one_statement(held: Claim, outcome: Outcome) -> bool:
    """Say whether ``record`` writes with one statement where the database can."""
    return held.is_plain and isinstance(outcome, Succeed) and not outcome.on_complete


def record(connection: Connection, held: Claim, outcome: Outcome, meanwhile: Meanwhile | None = None) -> Handed:
    """Record the outcome of an attempt and hand over, in the caller's transaction.

    The worker that no longer holds the job changes nothing and gets ``accepted=False``; the one whose earlier
    commit got no answer finds its own outcome there and gets the bells that may not have been rung. What the step
    wants to be done with its completion is done only by the one that records it; raises CompletionFailed.
    """
    match outcome:
        case Succeed(result, on_complete):
            if is_one_statement(held, outcome) and connection.dialect.name == "postgresql":
                rows = transition.succeed_plainly(connection, held, result, meanwhile)
                if rows is None:
                    return _recorded_before(connection, held, AttemptOutcome.SUCCEEDED)
                return Handed(True, tuple(bell(row) for row in rows if row.status == JobStatus.QUEUED))
            if not transition.succeed(connection, held.job_id, held.attempt, result):
                return _recorded_before(connection, held, AttemptOutcome.SUCCEEDED)
            if on_complete:
                complete(connection, on_complete)
            write_history(connection, held, AttemptOutcome.SUCCEEDED)
            done = Done(held.job_id, held.workflow_id, held.join_id, held.is_last, result)
            return Handed(True, tuple(hand_over(connection, done, may_refuse=True)))
        case RetryLater(failure):
            row = transition.retry(connection, held.job_id, held.attempt, outcome)
            if row is None:
                return _recorded_before(connection, held, AttemptOutcome.RETRIED, failure)
            write_history(connection, held, AttemptOutcome.RETRIED, failure)
            return Handed(True, (bell(row),) if row.status == JobStatus.QUEUED else ())
        case Leave(failure):
            if transition.leave(connection, held.job_id, held.attempt, outcome) is None:
                return _recorded_before(connection, held, AttemptOutcome.RELEASED, failure)
            write_history(connection, held, AttemptOutcome.RELEASED, failure)
            return Handed(True)
        case Fail(failure):
            dead = transition.fail(connection, held.job_id, held.attempt, outcome)
            if dead is None:
                return _recorded_before(connection, held, AttemptOutcome.FAILED, failure)
            write_history(connection, held, AttemptOutcome.FAILED, failure)
            return Handed(True, tuple(bury(connection, dead, needs_person=outcome.needs_person)))
        case GiveUp(reason):
            why = Failure("cancelled", "agentq.Cancel", reason)
            given_up = transition.give_up(connection, held.job_id, held.attempt, why)
            if given_up is None:
                return _recorded_before(connection, held, AttemptOutcome.CANCELLED, why)
            write_history(connection, held, AttemptOutcome.CANCELLED, why)
            return Handed(True, tuple(give_up(connection, given_up, actor=f"step {held.step}", why=why)))


def workflow_policy(connection: Connection, workflow_id: uuid.UUID) -> str | None:
    """Return the retry policy of a workflow as JSON text; None where each step has its own."""
    policy: str | None = connection.scalar(select(WorkflowRow.policy).where(WorkflowRow.id == workflow_id))
    return policy


def left_before(connection: Connection, held: Claim, error_class: str) -> Left:
    """Return what there is to know of a job that may be left for another worker, as it was left before.

    *error_class* says why it was; what counts is since its last replay, and since an attempt that ended otherwise.
    """
    mine = AttemptRow.job_id == held.job_id
    other = select(func.max(AttemptRow.number)).where(mine, AttemptRow.error_class.is_distinct_from(error_class))
    since = func.coalesce(other.scalar_subquery(), 0)
    left = (mine, AttemptRow.number > held.attempts_before, AttemptRow.number > since)
    times, first, moment = connection.execute(
        select(func.count(), func.min(AttemptRow.finished_at), now()).where(*left)
    ).one()
    of_job = select(JobRow.queue, WorkflowRow.terms).join_from(JobRow, WorkflowRow).where(JobRow.id == held.job_id)
    queue, kept = connection.execute(of_job).one()
    need = Need(queue, held.kind, held.step, parameters_at_start(kept, held.step))
    return Left(times, 0.0 if first is None else (moment - first).total_seconds(), need)


def status_of(connection: Connection, job_id: uuid.UUID) -> AnyRow | None:
    """Return kind, step, queue and status of a job, or None where there is no such job."""
    found = select(JobRow.kind, JobRow.step, JobRow.queue, JobRow.status).where(JobRow.id == job_id)
    return connection.execute(found).one_or_none()


def holds(connection: Connection, job_id: uuid.UUID, attempt: int) -> bool:
    """Say whether the attempt of this number still holds the job."""
    mine = (JobRow.id == job_id, JobRow.status == JobStatus.RUNNING, JobRow.attempt == attempt)
    return connection.scalar(select(JobRow.id).where(*mine)) is not None


def queued_successors(connection: Connection, job_id: uuid.UUID) -> list[Bell]:
    """Return the bells of jobs that became ready when *job_id* was done and have not been claimed.

    For the moment when a worker died between its commit and its dispatch.
    """
    bells = [bell(row) for row in connection.execute(_SUCCESSORS, {"job_id": job_id})]
    bells += [bell(row) for row in connection.execute(_BRANCHES, {"job_id": job_id})]
    join_id = connection.scalar(select(JobRow.join_id).where(JobRow.id == job_id))
    return bells + (queued_successors(connection, join_id) if join_id else [])


def ring_successors(connection: Connection, job_id: uuid.UUID, grace: float) -> list[Bell]:
    """Note another dispatch of what became ready when *job_id* was done and was not rung for in *grace* seconds.

    However often the message of a job comes again, it does not multiply the messages of those after it.
    """
    waiting = [bell.job_id for bell in queued_successors(connection, job_id)]
    return [bell(row) for row in transition.ring_these(connection, waiting, grace)]


def _only_successor(job_id: uuid.UUID, row: AnyRow) -> Bell | None:
    """Return the bell of what waits for this job alone and comes next by itself; None where there are more."""
    successors = json.loads(row.successors or "[]")
    if len(successors) != 1:
        return None
    [(id_, kind, step, queue, priority, timeout, hard_timeout)] = successors
    return Bell(
        job_id=uuid.UUID(id_),
        workflow_id=row.workflow_id,
        after_id=job_id,
        tenant=row.tenant,
        kind=kind,
        step=step,
        queue=queue,
        priority=priority,
        timeout=timeout,
        hard_timeout=hard_timeout,
        rung_at=row.started_at,
    )


def _recorded_before(
    connection: Connection, held: Claim, outcome: AttemptOutcome, failure: Failure = NO_FAILURE
) -> Handed:
    """Tell a lost reply (my outcome is there) from a lost job (somebody else's is, with another error)."""
    found = select(AttemptRow.outcome).where(
        AttemptRow.job_id == held.job_id,
        AttemptRow.number == held.attempt,
        AttemptRow.worker_id == held.worker_id,
        AttemptRow.outcome == outcome,
        func.coalesce(AttemptRow.error_category, "") == failure.category,
        func.coalesce(AttemptRow.error_class, "") == failure.error_class,
    )
    if connection.execute(found).one_or_none() is None:
        return Handed(False)
    again = connection.execute(_SELF, {"job_id": held.job_id}).all()
    return Handed(True, (*map(bell, again), *queued_successors(connection, held.job_id)))
