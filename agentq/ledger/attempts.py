"""Attempts at jobs: claim one, record its outcome and hand over, give it back."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from operator import attrgetter
from typing import Any

from sqlalchemy import Connection, bindparam, func, select
from sqlalchemy.orm import aliased

from agentq.ledger import cooldowns, moves
from agentq.ledger.after_commit import Admit
from agentq.ledger.cancels import cancel_with_dependents
from agentq.ledger.db.statement import WhileExecuting
from agentq.ledger.db.types import AnyRow, now
from agentq.ledger.handover import Done, dispatch_queued, fail_for_good, hand_over
from agentq.ledger.history import NO_FAILURE, end_attempt
from agentq.ledger.knowledge import Need, parameters_at_start
from agentq.ledger.models import AttemptRow, JobRow, WorkflowRow
from agentq.ledger.on_complete import run_on_complete
from agentq.ledger.records import SUCCESSOR, Claim, Dispatch, Left, columns_of, dispatch_of, dispatch_with
from agentq.ledger.results import collect_results
from agentq.ledger.transaction import Transaction
from agentq.outcomes import Cancelled, Fail, Failure, Leave, Outcome, RetryLater, Succeed
from agentq.states import AttemptOutcome, JobKind, JobStatus

Used = int | Mapping[str, int] | None
"""Tokens that an attempt has used: a number, or numbers by the names of its limits; None where it did not say."""

_taken = attrgetter(*columns_of(Claim))
_SELF = select(*moves.DISPATCH).where(JobRow.id == bindparam("job_id"), JobRow.status == JobStatus.QUEUED)
_SUCCESSORS = select(*moves.DISPATCH).where(
    JobRow.after_id == bindparam("job_id"), JobRow.status == JobStatus.QUEUED
)

_each = aliased(JobRow)
_eaches_after = (_each.after_id == bindparam("job_id"), _each.kind == JobKind.EACH)
_their_workflow = select(_each.workflow_id).where(*_eaches_after).limit(1).scalar_subquery()
_expanded_at = select(func.min(_each.dispatched_at)).where(*_eaches_after).scalar_subquery()
# The first jobs of an each's branches wait for nothing and were dispatched when it was expanded. Those of the
# workflow are found in a CTE of their own: PostgreSQL might begin with all that is queued, if it knew that they
# must be.
_first_jobs = (
    select(*moves.DISPATCH)
    .where(JobRow.workflow_id == _their_workflow, JobRow.after_id.is_(None))
    .cte("first_jobs")
    .prefix_with("MATERIALIZED", dialect="postgresql")
)
_BRANCHES = select(_first_jobs).where(
    _first_jobs.c.status == JobStatus.QUEUED, _first_jobs.c.dispatched_at >= _expanded_at
)


def claim(
    tx: Transaction,
    job_id: uuid.UUID,
    step: str | None,
    worker_id: uuid.UUID,
    token: int,
    early_after: uuid.UUID | None = None,
    sent_to: str | None = None,
    pays: bool = False,
    is_unnamed: bool = False,
) -> Claim | None:
    """Take a job for execution, with its arguments and the result it starts from.

    *step* is the name that the message has; None for the carrier of plain tasks. *early_after* is the job before
    it, where the message was sent before that one's completion was committed; *sent_to* the queue that it was sent
    to, where it says so: a job that was moved since is not claimed by it. *pays* takes those jobs alone whose
    start has to be paid for, and without it those alone that have nothing to pay. *is_unnamed* takes a job whose
    limits cannot be named, for an attempt that says why. Returns None where the job is
    not to be run now: done, running, cancelled, not due, refused by a limit, unknown, or of another name.
    """
    paid: dict[str, Any] = {}
    if is_unnamed:
        row = moves.claim_unnamed(tx, job_id, step, worker_id, token, sent_to)
    elif pays:
        row = moves.claim_paying(tx, job_id, step, worker_id, token, sent_to)
        if row is not None:
            paid = {"has_paid": True, "tokens": row.tokens, "begins_in": row.begins_in}
    else:
        row = moves.claim(tx, job_id, step, worker_id, token, early_after, sent_to)
    if row is None:
        return None
    inputs = row.inputs
    if inputs is None and row.after_id is not None and not row.immutable:
        inputs = collect_results(tx.connection, row.after_id)
    successor = _only_successor(job_id, row)
    return Claim(*_taken(row), job_id=job_id, worker_id=worker_id, inputs=inputs, successor=successor, **paid)


def is_one_statement(claimed: Claim, outcome: Outcome, used: Used = None) -> bool:
    """Say whether ``record`` writes with one statement where the database can."""
    is_plain = claimed.is_plain and isinstance(outcome, Succeed) and not outcome.on_complete
    return is_plain and (len(claimed.limits or ()) < 2 or not _more_tokens(claimed, used))


def record(
    tx: Transaction,
    claimed: Claim,
    outcome: Outcome,
    while_executing: WhileExecuting | None = None,
    used: Used = None,
) -> bool:
    """Record the outcome of an attempt and hand over, in the caller's transaction; False where it is discarded.

    The worker that no longer owns the job changes nothing; the one whose earlier commit got no answer finds its
    own outcome there and dispatches again what may not have been dispatched. What the step wants to be done with
    its completion is done only by the one that records it; raises CompletionFailed. *used* are the tokens that the
    attempt says it has used; where it does not, those count that it had reserved.
    """
    more = _more_tokens(claimed, used)
    if is_one_statement(claimed, outcome, used) and tx.connection.dialect.name == "postgresql":
        assert isinstance(outcome, Succeed)
        rows = moves.succeed_fast(tx, claimed, outcome.result, while_executing, sum(more.values()))
        if rows is None:
            return _was_recorded(tx, claimed, AttemptOutcome.SUCCEEDED, NO_FAILURE)
        dispatch_queued(tx, rows)
        return True
    lost = _write(tx, claimed, outcome)
    if lost is not None:
        return _was_recorded(tx, claimed, *lost)
    moves.reconcile(tx, more)
    return True


def workflow_policy(connection: Connection, workflow_id: uuid.UUID) -> str | None:
    """Return the retry policy of a workflow as JSON text; None where each step has its own."""
    policy: str | None = connection.scalar(select(WorkflowRow.policy).where(WorkflowRow.id == workflow_id))
    return policy


def left_before(connection: Connection, claimed: Claim, error_class: str) -> Left:
    """Return what there is to know of a job that may be left for another worker, as it was left before.

    *error_class* says why it was; what counts is since its last replay, and since an attempt that ended otherwise.
    """
    mine = AttemptRow.job_id == claimed.job_id
    other = select(func.max(AttemptRow.number)).where(mine, AttemptRow.error_class.is_distinct_from(error_class))
    since = func.coalesce(other.scalar_subquery(), 0)
    left = (mine, AttemptRow.number > claimed.attempts_before, AttemptRow.number > since)
    times, first, read_at = connection.execute(
        select(func.count(), func.min(AttemptRow.finished_at), now()).where(*left)
    ).one()
    of_job = (
        select(JobRow.queue, WorkflowRow.terms).join_from(JobRow, WorkflowRow).where(JobRow.id == claimed.job_id)
    )
    queue, terms = connection.execute(of_job).one()
    need = Need(queue, claimed.kind, claimed.step, parameters_at_start(terms, claimed.step))
    return Left(times, 0.0 if first is None else (read_at - first).total_seconds(), need)


def status_of(connection: Connection, job_id: uuid.UUID) -> AnyRow | None:
    """Return kind, step, queue, status and ``pays`` of a job, or None where there is no such job.

    ``is_unnamed`` says whether its limits have no names yet.
    """
    columns = (JobRow.kind, JobRow.step, JobRow.queue, JobRow.status, JobRow.pays)
    found = select(*columns, moves.IS_UNNAMED.label("is_unnamed")).where(JobRow.id == job_id)
    return connection.execute(found).one_or_none()


def still_owns(connection: Connection, job_id: uuid.UUID, attempt: int) -> bool:
    """Say whether the attempt of this number still owns the job."""
    mine = (JobRow.id == job_id, JobRow.status == JobStatus.RUNNING, JobRow.attempt == attempt)
    return connection.scalar(select(JobRow.id).where(*mine)) is not None


def queued_successors(connection: Connection, job_id: uuid.UUID) -> list[Dispatch]:
    """Return the dispatches of jobs that became ready when *job_id* was done and have not been claimed.

    For a worker that died between its commit and its dispatch.
    """
    dispatches = [dispatch_of(row) for row in connection.execute(_SUCCESSORS, {"job_id": job_id})]
    dispatches += [dispatch_of(row) for row in connection.execute(_BRANCHES, {"job_id": job_id})]
    join_id = connection.scalar(select(JobRow.join_id).where(JobRow.id == job_id))
    return dispatches + (queued_successors(connection, join_id) if join_id else [])


def redispatch_successors(tx: Transaction, job_id: uuid.UUID, grace: float) -> None:
    """Dispatch again what became ready when *job_id* was done and was not dispatched in *grace* seconds.

    However often the message of a job comes again, it does not multiply the messages of those after it.
    """
    waiting = [dispatch.job_id for dispatch in queued_successors(tx.connection, job_id)]
    tx.dispatch(*(dispatch_of(row) for row in moves.redispatch_unclaimed(tx, waiting, grace)))


def _only_successor(job_id: uuid.UUID, row: AnyRow) -> Dispatch | None:
    """Return the dispatch of the job that waits for this job alone; None where there are more."""
    successors = json.loads(row.successors or "[]")
    if len(successors) != 1:
        return None
    values = dict(zip(SUCCESSOR, successors[0], strict=True))
    values |= {"id": uuid.UUID(values["id"]), "workflow_id": row.workflow_id, "after_id": job_id}
    return dispatch_with(values | {"tenant": row.tenant, "pays": False, "dispatched_at": row.started_at})


def _write(tx: Transaction, claimed: Claim, outcome: Outcome) -> tuple[AttemptOutcome, Failure] | None:
    """Write an outcome and hand over; returns the one to look for in the history where the job was lost."""
    ended, failure = _in_history(outcome)
    match outcome:
        case Succeed(result, on_complete):
            if not moves.succeed(tx, claimed.job_id, claimed.attempt, result):
                return ended, failure
            if on_complete:
                run_on_complete(tx.connection, on_complete)
            end_attempt(tx, claimed, ended, failure)
            done = Done(claimed.job_id, claimed.workflow_id, claimed.join_id, claimed.is_last, result)
            hand_over(tx, done, may_refuse=True)
        case RetryLater():
            again = moves.retry if outcome.in_line_of is None else moves.wait_in_line
            row = again(tx, claimed.job_id, claimed.attempt, outcome)
            if row is None:
                return ended, failure
            end_attempt(tx, claimed, ended, failure)
            if outcome.needs_slot_of is not None:
                row = _stand_in_line(tx, claimed.job_id, outcome.needs_slot_of, outcome.needs_tokens)
            dispatch_queued(tx, [row])
            cooldowns.begin(tx, claimed, outcome)
        case Leave():
            if moves.leave(tx, claimed.job_id, claimed.attempt, outcome) is None:
                return ended, failure
            end_attempt(tx, claimed, ended, failure)
        case Fail():
            dead = moves.fail(tx, claimed.job_id, claimed.attempt, outcome)
            if dead is None:
                return ended, failure
            end_attempt(tx, claimed, ended, failure)
            fail_for_good(tx, dead, needs_person=outcome.needs_person)
            cooldowns.begin(tx, claimed, outcome)
        case Cancelled():
            cancelled = moves.cancel_own(tx, claimed.job_id, claimed.attempt, failure)
            if cancelled is None:
                return ended, failure
            end_attempt(tx, claimed, ended, failure)
            cancel_with_dependents(tx, cancelled, actor=f"step {claimed.step}", why=failure)
    return None


def _stand_in_line(tx: Transaction, job_id: uuid.UUID, limit: str, tokens: int) -> AnyRow:
    """Let a job that has just been scheduled stand in the line of *limit*, with none of the slots that it had."""
    for awaited in moves.give_back(tx, job_id, 1):
        tx.then(Admit(awaited))
    row = moves.stand_in_line(tx, job_id, limit, tokens)
    assert row is not None, "the transaction has scheduled the job"
    return row


def _in_history(outcome: Outcome) -> tuple[AttemptOutcome, Failure]:
    match outcome:
        case Succeed():
            return AttemptOutcome.SUCCEEDED, NO_FAILURE
        case RetryLater(failure):
            return AttemptOutcome.RETRIED, failure
        case Leave(failure):
            return AttemptOutcome.RELEASED, failure
        case Fail(failure):
            return AttemptOutcome.FAILED, failure
        case Cancelled(reason):
            return AttemptOutcome.CANCELLED, Failure("cancelled", "agentq.Cancel", reason)


def _more_tokens(claimed: Claim, used: Used) -> dict[str, int]:
    """Return how many tokens an attempt has used beyond those that it had reserved, by the names of its limits."""
    if used is None or claimed.tokens is None:
        return {}
    reserved = dict(zip(claimed.limits or (), claimed.tokens, strict=True))
    told = used if isinstance(used, Mapping) else dict.fromkeys(reserved, used)
    return {name: told[name] - tokens for name, tokens in reserved.items() if told.get(name, tokens) != tokens}


def _was_recorded(tx: Transaction, claimed: Claim, outcome: AttemptOutcome, failure: Failure) -> bool:
    """Distinguish a lost reply (my outcome is there) from a lost job (another worker's is, or another error)."""
    found = select(AttemptRow.outcome).where(
        AttemptRow.job_id == claimed.job_id,
        AttemptRow.number == claimed.attempt,
        AttemptRow.worker_id == claimed.worker_id,
        AttemptRow.outcome == outcome,
        func.coalesce(AttemptRow.error_category, "") == failure.category,
        func.coalesce(AttemptRow.error_class, "") == failure.error_class,
    )
    if tx.connection.execute(found).one_or_none() is None:
        return False
    again = tx.connection.execute(_SELF, {"job_id": claimed.job_id}).all()
    tx.dispatch(*map(dispatch_of, again), *queued_successors(tx.connection, claimed.job_id))
    return True
