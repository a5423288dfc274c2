"""Rules on what steps told: each event is of an attempt that was made, and in that job's workflow."""

from __future__ import annotations

from sqlalchemy import or_, select

from agentq.ledger.audit.invariants.common import Found, rule
from agentq.ledger.models import EventRow, JobRow


@rule("job")
def told_elsewhere() -> Found:
    """a job told something to the followers of another workflow"""
    of_job = EventRow.job_id == JobRow.id
    return select(JobRow.id, EventRow.kind).where(of_job, EventRow.workflow_id != JobRow.workflow_id)


@rule("job")
def told_by_no_attempt() -> Found:
    """a job has an event of an attempt that nobody began"""
    never = or_(EventRow.attempt < 1, EventRow.attempt > JobRow.attempt)
    return select(JobRow.id, EventRow.kind).where(EventRow.job_id == JobRow.id, never)


RULES = (told_elsewhere, told_by_no_attempt)
