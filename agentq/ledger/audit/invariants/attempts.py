"""Rules on the history of a job: attempts follow each other, are bounded, and the last one ends it."""

from __future__ import annotations

from sqlalchemy import and_, false, func, or_, select
from sqlalchemy.orm import aliased

from agentq.ledger.audit.invariants.common import CLOCK, Found, invariant, is_runnable, letter_closed
from agentq.ledger.db.types import later
from agentq.ledger.models import AttemptRow, JobRow, WorkflowRow
from agentq.states import AttemptOutcome, DeadLetterStatus, JobStatus

_ACCEPTED = (AttemptOutcome.SUCCEEDED, AttemptOutcome.FAILED)
_DONE = (JobStatus.SUCCEEDED, JobStatus.FAILED)
_next = aliased(AttemptRow)
_FAILURES = (AttemptOutcome.FAILED, AttemptOutcome.LOST)
_ended_by_hand = and_(
    JobRow.status == JobStatus.SUCCEEDED, letter_closed(DeadLetterStatus.RESOLVED, JobRow.attempt)
)
_ended_by_deadline = and_(
    JobRow.status == JobStatus.FAILED,
    or_(
        func.coalesce(JobRow.deadline_at <= JobRow.finished_at, false()),
        func.coalesce(WorkflowRow.deadline_at <= JobRow.finished_at, false()),
    ),
)
_later_accepted = select(_next.job_id).where(
    _next.job_id == JobRow.id, _next.number > AttemptRow.number, _next.outcome.in_(_ACCEPTED)
)
_replayed = or_(
    and_(AttemptRow.outcome == AttemptOutcome.FAILED, letter_closed(DeadLetterStatus.REPLAYED, AttemptRow.number)),
    # With the fan-in that lacked it, whose letter says so.
    and_(JobRow.part_id.is_not(None), AttemptRow.number <= JobRow.attempts_before),
)
_is_current = and_(AttemptRow.job_id == JobRow.id, AttemptRow.number == JobRow.attempt)


@invariant("job")
def two_outcomes() -> Found:
    """a job has two accepted outcomes, and was not replayed between them"""
    return (
        select(JobRow.id, AttemptRow.outcome)
        .join(AttemptRow, AttemptRow.job_id == JobRow.id)
        .where(AttemptRow.outcome.in_(_ACCEPTED), _later_accepted.exists(), ~_replayed)
    )


@invariant("job")
def attempt_after_end() -> Found:
    """an attempt began after the job had ended"""
    final = (*_ACCEPTED, AttemptOutcome.CANCELLED)
    return (
        select(JobRow.id, AttemptRow.outcome)
        .join(AttemptRow, AttemptRow.job_id == JobRow.id)
        .where(
            AttemptRow.outcome.in_(final),
            JobRow.attempt > AttemptRow.number,
            ~_later_accepted.exists(),
            ~_replayed,
        )
    )


@invariant("job")
def end_without_outcome() -> Found:
    """a job ended otherwise than its last attempt"""
    outcome = select(AttemptRow.job_id).where(
        _is_current,
        or_(
            and_(JobRow.status == JobStatus.SUCCEEDED, AttemptRow.outcome == AttemptOutcome.SUCCEEDED),
            and_(JobRow.status == JobStatus.FAILED, AttemptRow.outcome.in_(_FAILURES)),
        ),
    )
    return (
        select(JobRow.id, JobRow.status)
        .join(WorkflowRow, WorkflowRow.id == JobRow.workflow_id)
        .where(JobRow.status.in_(_DONE), is_runnable, ~outcome.exists(), ~_ended_by_hand, ~_ended_by_deadline)
    )


@invariant("job")
def outcome_without_end() -> Found:
    """a job has an accepted outcome but did not end so"""
    not_ended_so = or_(
        and_(AttemptRow.outcome == AttemptOutcome.SUCCEEDED, JobRow.status != JobStatus.SUCCEEDED),
        and_(AttemptRow.outcome == AttemptOutcome.CANCELLED, JobRow.status != JobStatus.CANCELLED, ~_replayed),
        and_(AttemptRow.outcome == AttemptOutcome.FAILED, JobRow.status != JobStatus.FAILED, ~_replayed),
    )
    # What runs is the matter of another rule; so is what is done with another outcome.
    return (
        select(JobRow.id, JobRow.status)
        .join(AttemptRow, _is_current)
        .where(JobRow.status.not_in([JobStatus.RUNNING, *_DONE]), not_ended_so)
    )


@invariant("job")
def attempt_not_ended() -> Found:
    """two workers may hold a job: an attempt began although an earlier one had not ended"""
    ended = (
        select(func.count())
        .where(AttemptRow.job_id == JobRow.id, AttemptRow.number < JobRow.attempt, AttemptRow.number > 0)
        .scalar_subquery()
    )
    return select(JobRow.id, JobRow.status).where(JobRow.attempt > 1, ended != JobRow.attempt - 1)


@invariant("job")
def attempts_overlap() -> Found:
    """two workers held a job at once: an attempt began before the one before it had ended"""
    return (
        select(AttemptRow.job_id, AttemptRow.outcome)
        .join(_next, and_(_next.job_id == AttemptRow.job_id, _next.number == AttemptRow.number + 1))
        .where(later(_next.started_at, CLOCK) < AttemptRow.finished_at)
    )


@invariant("job")
def runs_after_end() -> Found:
    """a job runs although this attempt at it has ended"""
    return (
        select(JobRow.id, AttemptRow.outcome)
        .join(AttemptRow, _is_current)
        .where(JobRow.status == JobStatus.RUNNING)
    )


@invariant("job")
def attempt_without_end() -> Found:
    """a job is not running but its last attempt has no end in the history"""
    ended = select(AttemptRow.job_id).where(_is_current)
    elsewhere = (JobStatus.RUNNING, *_DONE)
    return select(JobRow.id, JobRow.status).where(
        JobRow.attempt > 0, JobRow.status.not_in(elsewhere), ~ended.exists()
    )


@invariant("job")
def attempt_not_claimed() -> Found:
    """the history has an attempt that was never claimed"""
    return (
        select(JobRow.id, AttemptRow.outcome)
        .join(AttemptRow, AttemptRow.job_id == JobRow.id)
        .where(or_(AttemptRow.number > JobRow.attempt, AttemptRow.number < 1))
    )


@invariant("job")
def attempts_beyond_limit() -> Found:
    """a job had more attempts than allowed"""
    most = select(func.max(AttemptRow.number)).where(AttemptRow.job_id == JobRow.id).scalar_subquery()
    return select(JobRow.id, JobRow.status).where(
        or_(JobRow.attempt > JobRow.max_attempts, most > JobRow.max_attempts)
    )


@invariant("job")
def runs_without_attempt() -> Found:
    """a job runs without an attempt's number, start or token"""
    return select(JobRow.id, JobRow.step).where(
        JobRow.status == JobStatus.RUNNING,
        or_(JobRow.attempt == 0, JobRow.started_at.is_(None), JobRow.claim_token.is_(None)),
    )


@invariant("job")
def moved_after_end() -> Found:
    """a job moved, or its end was written again, after it had ended"""
    return (
        select(JobRow.id, JobRow.status)
        .join(AttemptRow, _is_current)
        .join(WorkflowRow, WorkflowRow.id == JobRow.workflow_id)
        .where(
            JobRow.status.in_(_DONE),
            is_runnable,
            ~_ended_by_hand,
            or_(
                JobRow.started_at > JobRow.finished_at,
                JobRow.dispatched_at > JobRow.finished_at,
                and_(JobRow.finished_at > AttemptRow.finished_at, ~_ended_by_deadline),
            ),
        )
    )


@invariant("job")
def success_without_result() -> Found:
    """a step succeeded without a result"""
    return select(JobRow.id, JobRow.step).where(
        JobRow.status == JobStatus.SUCCEEDED, is_runnable, JobRow.result.is_(None)
    )


INVARIANTS = (
    two_outcomes,
    attempt_after_end,
    end_without_outcome,
    outcome_without_end,
    attempt_not_ended,
    attempts_overlap,
    runs_after_end,
    attempt_without_end,
    attempt_not_claimed,
    attempts_beyond_limit,
    runs_without_attempt,
    moved_after_end,
    success_without_result,
)
