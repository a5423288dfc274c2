"""The next time at which the ledger has something to do."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, func, select, union_all

from agentq.ledger.db.types import now
from agentq.ledger.models import JobRow, LimitRow, ScheduleRow, WorkflowRow
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
_ticks = union_all(
    select(ScheduleRow.next_at.label("time")).where(ScheduleRow.paused_at.is_(None)),
    select(ScheduleRow.paused_until),
).subquery()


def _next_of(times: Any) -> Any:
    return select(func.min(times.c.time)).where(times.c.time > now()).scalar_subquery()


_NEXT = select(now(), _next_of(_times))
_NEXT_TICK = select(_next_of(_ticks))


_AWAITED = select(LimitRow.name).where(LimitRow.is_awaited)


def next_time(connection: Connection, *, with_ticks: bool = False) -> tuple[datetime, datetime | None]:
    """Return the time by the ledger's clock, and the next time at which a caretaker has something to do.

    The ticks of schedules, which never end, are left out unless they are asked for.
    """
    ledger_time, following = connection.execute(_NEXT).one()
    tick = connection.scalar(_NEXT_TICK) if with_ticks else None
    openings = [opening(connection, limit) for limit in connection.scalars(_AWAITED).all()]
    waits = [found.admitted_in for found in openings if found is not None and found.admitted_in > 0]
    times = [ledger_time + timedelta(seconds=seconds) for seconds in waits]
    return ledger_time, min([*times, *filter(None, (following, tick))], default=None)
