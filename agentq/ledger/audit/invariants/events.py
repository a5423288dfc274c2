"""Invariants of events: each is of an attempt that was made, and in that job's workflow."""

from __future__ import annotations

from sqlalchemy import or_, select

from agentq.ledger.audit.invariants.common import Found, invariant
from agentq.ledger.models import EventRow, JobRow


@invariant("job")
def recorded_elsewhere() -> Found:
    """a job recorded an event in another workflow"""
    of_job = EventRow.job_id == JobRow.id
    return select(JobRow.id, EventRow.kind).where(of_job, EventRow.workflow_id != JobRow.workflow_id)


@invariant("job")
def recorded_by_no_attempt() -> Found:
    """a job has an event of an attempt that was never begun"""
    never = or_(EventRow.attempt < 1, EventRow.attempt > JobRow.attempt)
    return select(JobRow.id, EventRow.kind).where(EventRow.job_id == JobRow.id, never)


INVARIANTS = (recorded_elsewhere, recorded_by_no_attempt)
