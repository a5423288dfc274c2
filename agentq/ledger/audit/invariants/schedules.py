"""Rules on schedules: a tick has one workflow, and none waits long for its start."""

from __future__ import annotations

from sqlalchemy import and_, literal_column, or_, select

from agentq.ledger.audit.invariants.common import ASK_WORKERS, LONG_AGO, Found, a_worker_lives, invariant
from agentq.ledger.db.types import iso_time
from agentq.ledger.models import ScheduleRow, WorkflowRow

_is_of_tick = WorkflowRow.scheduled_for.is_not(None)
_names_tick = WorkflowRow.key.like(literal_column("'schedule:%:'").concat(iso_time(WorkflowRow.scheduled_for)))


@invariant("workflow")
def tick_without_its_key() -> Found:
    """a tick started a workflow whose key does not name it, so that another one may start for it"""
    return select(WorkflowRow.id, WorkflowRow.tenant).where(
        _is_of_tick,
        or_(WorkflowRow.key.is_(None), and_(~_names_tick, ~WorkflowRow.key.like("schedule:%:now:%"))),
    )


@invariant("schedule", ASK_WORKERS)
def never_started() -> Found:
    """a tick of a schedule came long ago, and no living worker started what is due"""
    return select(ScheduleRow.name, ScheduleRow.tenant).where(
        ScheduleRow.paused_at.is_(None), ScheduleRow.next_at < LONG_AGO, a_worker_lives
    )


@invariant("schedule")
def started_for_another_tick() -> Found:
    """the last workflow of a schedule is there, and is not of its last tick"""
    return (
        select(ScheduleRow.name, ScheduleRow.tenant)
        .join(WorkflowRow, WorkflowRow.id == ScheduleRow.last_workflow_id)
        .where(WorkflowRow.scheduled_for.is_distinct_from(ScheduleRow.last_tick))
    )


INVARIANTS = (tick_without_its_key, never_started, started_for_another_tick)
