"""The next time at which the ledger has something to do."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, func, select, union_all

from agentq.ledger.db.types import now
from agentq.ledger.models import JobRow, LimitRow, WorkflowRow
from agentq.states import JOB_EXPIRING, JobStatus

_times = union_all(
    select(JobRow.due_at.label("time")).where(JobRow.status == JobStatus.SCHEDULED),
    select(JobRow.expires_at).where(JobRow.status.in_(sorted(JOB_EXPIRING))),
    select(JobRow.deadline_at).where(JobRow.finished_at.is_(None)),
    select(WorkflowRow.deadline_at).where(WorkflowRow.finished_at.is_(None)),
    select(LimitRow.override_until).where(LimitRow.is_awaited),
).subquery()
_NEXT = select(now(), select(func.min(_times.c.time)).where(_times.c.time > now()).scalar_subquery())


def next_time(connection: Connection) -> tuple[datetime, datetime | None]:
    """Return the time by the ledger's clock, and the next time at which a caretaker has something to do."""
    ledger_time, following = connection.execute(_NEXT).one()
    return ledger_time, following
