"""The next time at which the ledger has something to do."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Connection, func, select, union_all

from agentq.ledger.db.types import now
from agentq.ledger.models import JobRow, LimitRow, WorkflowRow
from agentq.ledger.moves.pace import opening
from agentq.states import JOB_EXPIRING, JobStatus

_times = union_all(
    select(JobRow.due_at.label("time")).where(JobRow.status == JobStatus.SCHEDULED),
    select(JobRow.expires_at).where(JobRow.status.in_(sorted(JOB_EXPIRING))),
    select(JobRow.deadline_at).where(JobRow.finished_at.is_(None)),
    select(WorkflowRow.deadline_at).where(WorkflowRow.finished_at.is_(None)),
    select(LimitRow.override_until).where(LimitRow.is_awaited),
    select(LimitRow.cooldown_until).where(LimitRow.is_awaited),
).subquery()
_NEXT = select(now(), select(func.min(_times.c.time)).where(_times.c.time > now()).scalar_subquery())


_AWAITED = select(LimitRow.name).where(LimitRow.is_awaited)


def next_time(connection: Connection) -> tuple[datetime, datetime | None]:
    """Return the time by the ledger's clock, and the next time at which a caretaker has something to do."""
    ledger_time, following = connection.execute(_NEXT).one()
    openings = [opening(connection, limit) for limit in connection.scalars(_AWAITED).all()]
    waits = [found.admitted_in for found in openings if found is not None and found.admitted_in > 0]
    times = [ledger_time + timedelta(seconds=seconds) for seconds in waits]
    return ledger_time, min([*times, *([] if following is None else [following])], default=None)
