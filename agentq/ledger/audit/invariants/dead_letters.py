"""Invariants of dead letters: a job that failed for good has one open or cancelled, and no other job has."""

from __future__ import annotations

from sqlalchemy import and_, func, or_, select

from agentq.ledger.audit.invariants.common import LONG_AGO, Found, a_worker_lives, invariant
from agentq.ledger.models import ActionRow, DeadLetterRow, JobRow
from agentq.states import DeadLetterStatus, JobStatus

_CONSUME = "does a worker consume the queue of dead letters? agentq check -A"
_of_job = DeadLetterRow.job_id == JobRow.id
_is_open = DeadLetterRow.status == DeadLetterStatus.OPEN
_is_of_job = DeadLetterRow.job_id.is_not(None)


@invariant("job", "no decision on it is possible: start its workflow again under another key")
def failed_without_letter() -> Found:
    """a job failed for good without a dead letter"""
    kept = (DeadLetterStatus.OPEN, DeadLetterStatus.CANCELLED)
    letter = select(DeadLetterRow.id).where(
        _of_job, DeadLetterRow.status.in_(kept), DeadLetterRow.attempts == JobRow.attempt
    )
    return select(JobRow.id, JobRow.step).where(JobRow.status == JobStatus.FAILED, ~letter.exists())


@invariant("job")
def two_open_letters() -> Found:
    """a job has two open dead letters"""
    twice = (
        select(DeadLetterRow.job_id)
        .where(_is_open, _is_of_job)
        .group_by(DeadLetterRow.job_id)
        .having(func.count() > 1)
    )
    return select(JobRow.id, JobRow.status).where(JobRow.id.in_(twice))


@invariant("dead letter")
def closed_without_action() -> Found:
    """a dead letter is closed but nothing says who did it"""
    action = select(ActionRow.id).where(
        ActionRow.workflow_id == DeadLetterRow.workflow_id, ActionRow.job_id == DeadLetterRow.job_id
    )
    # A letter of messages has no workflow that could have actions: its closer becomes its owner.
    is_anonymous = or_(and_(_is_of_job, ~action.exists()), and_(~_is_of_job, DeadLetterRow.owner.is_(None)))
    return select(DeadLetterRow.id, DeadLetterRow.status).where(~_is_open, is_anonymous)


@invariant("dead letter")
def letter_of_living_job() -> Found:
    """a dead letter is open although its job is not failed"""
    return (
        select(DeadLetterRow.id, JobRow.status)
        .join(JobRow, _of_job)
        .where(_is_open, JobRow.status != JobStatus.FAILED)
    )


@invariant("dead letter")
def letter_misfiled() -> Found:
    """a dead letter names another workflow or tenant than its job"""
    return (
        select(DeadLetterRow.id, DeadLetterRow.step)
        .join(JobRow, _of_job)
        .where(
            or_(
                DeadLetterRow.workflow_id.is_distinct_from(JobRow.workflow_id),
                DeadLetterRow.tenant != JobRow.tenant,
            )
        )
    )


@invariant("dead letter", _CONSUME)
def letter_never_recorded() -> Found:
    """a dead letter was not recorded by its task, although a worker has lived since long ago"""
    return _left_alone().where(DeadLetterRow.recorded_at.is_(None))


@invariant("dead letter", _CONSUME)
def letter_never_handled() -> Found:
    """a dead letter was recorded, but no handler was called, although a worker has lived since long ago"""
    return _left_alone().where(DeadLetterRow.recorded_at.is_not(None), DeadLetterRow.handled_at.is_(None))


def _left_alone() -> Found:
    """Letters that are open since long ago."""
    return select(DeadLetterRow.id, DeadLetterRow.step).where(
        _is_open, DeadLetterRow.created_at < LONG_AGO, a_worker_lives
    )


INVARIANTS = (
    failed_without_letter,
    two_open_letters,
    closed_without_action,
    letter_of_living_job,
    letter_misfiled,
    letter_never_recorded,
    letter_never_handled,
)
