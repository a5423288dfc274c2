"""Rules on who moves a job next: a claim can take it, a lease that is over is noticed, what is due goes out."""

from __future__ import annotations

from sqlalchemy import and_, case, literal, or_, select

from agentq.ledger.audit.invariants.common import (
    ASK_WORKERS,
    LONG_AGO,
    START_ANEW,
    Found,
    a_worker_lives,
    invariant,
)
from agentq.ledger.models import JobRow, WorkerRow, WorkflowRow
from agentq.states import JOB_EXPIRING, JobStatus, WorkflowStatus


@invariant("job", START_ANEW)
def never_claimed() -> Found:
    """a job is queued, blocked or scheduled but no claim can ever take it"""
    exhausted = and_(
        JobRow.status.in_([JobStatus.QUEUED, JobStatus.BLOCKED, JobStatus.SCHEDULED]),
        JobRow.attempt >= JobRow.max_attempts,
    )
    never_due = and_(JobRow.status == JobStatus.SCHEDULED, JobRow.due_at.is_(None))
    never_dispatched = and_(JobRow.status == JobStatus.QUEUED, JobRow.dispatched_at.is_(None))
    why = case(
        (exhausted, literal("no attempt is left")),
        (never_due, literal("scheduled without a due time")),
        else_=literal("queued without a dispatch time"),
    )
    return select(JobRow.id, why).where(or_(exhausted, never_due, never_dispatched))


@invariant("worker")
def leased_after_end() -> Found:
    """a worker signed off but still has a lease, so its jobs are not rescued"""
    return select(WorkerRow.id, WorkerRow.hostname).where(WorkerRow.lease_until > WorkerRow.stopped_at)


@invariant("job", ASK_WORKERS)
def never_rescued() -> Found:
    """a job is held by a worker whose lease ended long ago, and no living worker took it over"""
    leased = select(WorkerRow.id).where(WorkerRow.id == JobRow.worker_id, WorkerRow.lease_until > LONG_AGO)
    return select(JobRow.id, JobRow.step).where(
        JobRow.status == JobStatus.RUNNING, JobRow.started_at < LONG_AGO, ~leased.exists(), a_worker_lives
    )


@invariant("job", ASK_WORKERS)
def never_dispatched() -> Found:
    """a job was due long ago, and no living worker dispatched it"""
    return select(JobRow.id, JobRow.step).where(
        JobRow.status == JobStatus.SCHEDULED, JobRow.due_at < LONG_AGO, a_worker_lives
    )


@invariant("job", ASK_WORKERS)
def never_timed_out() -> Found:
    """a job or a fan-in was not done in its time long ago, and no living worker ended it"""
    return select(JobRow.id, JobRow.step).where(
        JobRow.finished_at.is_(None), JobRow.deadline_at < LONG_AGO, a_worker_lives
    )


@invariant("job", ASK_WORKERS)
def never_expired() -> Found:
    """a job of a running workflow expired long ago before it ran, and no living worker cancelled it"""
    runs = select(WorkflowRow.id).where(
        WorkflowRow.id == JobRow.workflow_id, WorkflowRow.status == WorkflowStatus.RUNNING
    )
    return select(JobRow.id, JobRow.step).where(
        JobRow.status.in_(sorted(JOB_EXPIRING)),
        JobRow.finished_at.is_(None),
        JobRow.expires_at < LONG_AGO,
        runs.exists(),
        a_worker_lives,
    )


INVARIANTS = (
    never_claimed,
    leased_after_end,
    never_rescued,
    never_dispatched,
    never_timed_out,
    never_expired,
)
