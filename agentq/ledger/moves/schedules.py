"""The moves of schedules: their ticks are passed, they are paused and go on.

A schedule is locked before the jobs of its workflows, and those before the workflow. Nothing that holds one of
these asks for a schedule.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Connection,
    Integer,
    String,
    Uuid,
    and_,
    bindparam,
    delete,
    false,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from agentq.ids import new_id
from agentq.ledger.db.types import AnyRow, UtcDateTime, now
from agentq.ledger.models import ScheduleChangeRow, ScheduleRow, WorkflowRow
from agentq.ledger.transaction import Transaction
from agentq.states import ScheduleAction

SYSTEM = "agentq"
"""The actor of what no person did."""

_ID = bindparam("schedule", type_=Uuid())
_goes = ScheduleRow.paused_at.is_(None)
_is_mine = ScheduleRow.id == _ID
IS_DUE = and_(_goes, ScheduleRow.next_at <= now())
"""A tick has come."""
PAUSE_IS_OVER = ScheduleRow.paused_until <= now()
"""The end of a pause has come."""
# A scalar subquery, which is asked for each schedule that owes: a join may read all workflows.
_open = select(WorkflowRow.finished_at.is_(None)).where(WorkflowRow.id == ScheduleRow.last_workflow_id)
_last_is_open = func.coalesce(_open.correlate(ScheduleRow).scalar_subquery(), false())
# Not by ``paused_at``: PostgreSQL could read the index of all schedules that have it NULL.
_may_begin = and_(ScheduleRow.paused_by.is_(None), ~_last_is_open)
MAY_BEGIN = and_(ScheduleRow.owed_for.is_not(None), _may_begin)
"""A tick is owed, and the workflow that it waited for has ended."""

_DIALECTS: dict[str, Any] = {"postgresql": postgresql, "sqlite": sqlite}
_schedule = ScheduleRow.__table__
_most = bindparam("most", type_=Integer())
_others = ScheduleRow.id.not_in(bindparam("without", type_=Uuid(), expanding=True))
_some = select(_schedule, now().label("read_at")).where(_others).limit(_most)
_DUE = _some.where(IS_DUE).order_by(ScheduleRow.next_at, ScheduleRow.id)
_OWED = _some.where(MAY_BEGIN).order_by(ScheduleRow.owed_for, ScheduleRow.id)
_NOW = select(now())
_GET = select(_schedule, now().label("read_at")).where(
    ScheduleRow.name == bindparam("of_name", type_=String()),
    ScheduleRow.tenant == bindparam("of_tenant", type_=String()),
)
_PASS = (
    update(ScheduleRow)
    .where(
        _is_mine,
        ScheduleRow.next_at == bindparam("seen", type_=UtcDateTime()),
        ScheduleRow.digest == bindparam("seen_digest", type_=String()),
        _goes,
    )
    .values(
        next_at=bindparam("following", type_=UtcDateTime()),
        since=bindparam("passed", type_=UtcDateTime()),
        missed=ScheduleRow.missed + bindparam("more", type_=BigInteger()),
    )
    .returning(ScheduleRow.last_workflow_id, ScheduleRow.owed_for)
)
_TAKE_OWED = (
    update(ScheduleRow)
    .where(_is_mine, ScheduleRow.owed_for == bindparam("seen", type_=UtcDateTime()), _goes, ~_last_is_open)
    .values(owed_for=None)
    .returning(ScheduleRow.id)
)
_NOTE = (
    update(ScheduleRow)
    .where(_is_mine)
    .values(
        last_workflow_id=bindparam("workflow", type_=Uuid()),
        owed_for=bindparam("owed", type_=UtcDateTime()),
        last_tick=func.coalesce(bindparam("tick", type_=UtcDateTime()), ScheduleRow.last_tick),
        started=ScheduleRow.started + bindparam("new", type_=Integer()),
        skipped=ScheduleRow.skipped + bindparam("left_out", type_=Integer()),
    )
)
_MARK = (
    update(WorkflowRow)
    .where(WorkflowRow.id == bindparam("workflow", type_=Uuid()), WorkflowRow.scheduled_for.is_(None))
    .values(scheduled_for=bindparam("tick", type_=UtcDateTime()))
)
_NO_PAUSE: dict[str, Any] = {"paused_at": None, "paused_until": None, "paused_by": None, "pause_reason": None}
_RESUME = update(ScheduleRow).where(_is_mine, ScheduleRow.paused_at.is_not(None)).values(_NO_PAUSE)
_OVER = select(ScheduleRow.id, ScheduleRow.tenant, ScheduleRow.name).where(PAUSE_IS_OVER).limit(_most)
_END_PAUSE = _RESUME.where(PAUSE_IS_OVER)
_CHANGE = select(ScheduleChangeRow.__table__).where(ScheduleChangeRow.id == bindparam("change", type_=Uuid()))


def due_schedules(connection: Connection, most: int, without: Collection[uuid.UUID] = ()) -> Sequence[AnyRow]:
    """Return up to *most* schedules of which a tick has come, *without* some; and the time as ``read_at``."""
    return connection.execute(_DUE, {"most": most, "without": list(without)}).all()


def owing_schedules(connection: Connection, most: int, without: Collection[uuid.UUID] = ()) -> Sequence[AnyRow]:
    """Return up to *most* schedules that owe a workflow which may begin, as ``due_schedules``."""
    return connection.execute(_OWED, {"most": most, "without": list(without)}).all()


def get_schedule(connection: Connection, tenant: str, name: str) -> AnyRow | None:
    """Return a schedule, and the time as ``read_at``; None where there is none."""
    return connection.execute(_GET, {"of_name": name, "of_tenant": tenant}).one_or_none()


def read_time(tx: Transaction) -> datetime:
    """Return the time by the database's clock."""
    return tx.connection.execute(_NOW).scalar_one()


def lock_schedule(tx: Transaction, tenant: str, name: str) -> AnyRow | None:
    """Return a schedule as ``get_schedule``, and keep others from changing it."""
    locked = _GET.with_for_update(key_share=True, of=ScheduleRow)
    return tx.connection.execute(locked, {"of_name": name, "of_tenant": tenant}).one_or_none()


def pass_ticks(tx: Transaction, seen: AnyRow, *, next_at: datetime, missed: int) -> AnyRow | None:
    """Let a schedule go on to its next tick, unless another process was first, it was changed, or is paused.

    Returns its last workflow and the tick that it owes.
    """
    values = {"schedule": seen.id, "seen": seen.next_at, "seen_digest": seen.digest, "passed": seen.read_at}
    return tx.connection.execute(_PASS, values | {"following": next_at, "more": missed}).one_or_none()


def take_owed(tx: Transaction, seen: AnyRow) -> bool:
    """Let a schedule owe nothing any more; False where another process was first, or it may not begin."""
    return tx.connection.execute(_TAKE_OWED, {"schedule": seen.id, "seen": seen.owed_for}).first() is not None


def is_open(tx: Transaction, workflow_id: uuid.UUID | None) -> bool:
    """Say whether a workflow is there and has not ended."""
    if workflow_id is None:
        return False
    found = select(WorkflowRow.id).where(WorkflowRow.id == workflow_id, WorkflowRow.finished_at.is_(None))
    return tx.connection.execute(found).first() is not None


def note_ticks(
    tx: Transaction,
    schedule_id: uuid.UUID,
    *,
    workflow: uuid.UUID | None,
    tick: datetime | None,
    owed: datetime | None,
    new: int,
    left_out: int,
) -> None:
    """Note what became of ticks: the last workflow, its tick if one was started now, and what is owed."""
    values = {"schedule": schedule_id, "workflow": workflow, "tick": tick, "owed": owed}
    tx.connection.execute(_NOTE, values | {"new": new, "left_out": left_out})


def mark_scheduled(tx: Transaction, workflow_id: uuid.UUID, tick: datetime) -> None:
    """Note the tick that started a workflow."""
    tx.connection.execute(_MARK, {"workflow": workflow_id, "tick": tick})


def add_schedule(tx: Transaction, values: dict[str, Any]) -> bool:
    """Write a new schedule; False where one of its tenant has this name."""
    new = _DIALECTS[tx.connection.dialect.name].insert(ScheduleRow).values(**values)
    done = new.on_conflict_do_nothing(index_elements=["name", "tenant"]).returning(ScheduleRow.id)
    return tx.connection.execute(done).first() is not None


def set_schedule(tx: Transaction, schedule_id: uuid.UUID, values: dict[str, Any]) -> None:
    """Change columns of a schedule that is locked."""
    tx.connection.execute(update(ScheduleRow).where(_is_mine).values(values), {"schedule": schedule_id})


def pause_schedule(
    tx: Transaction, schedule_id: uuid.UUID, until: datetime | None, *, actor: str, reason: str
) -> None:
    """Let a schedule that is locked start nothing, in place of an earlier pause."""
    pause = {"paused_at": now(), "paused_until": until, "paused_by": actor, "pause_reason": reason}
    set_schedule(tx, schedule_id, pause)


def resume_schedule(tx: Transaction, schedule_id: uuid.UUID) -> bool:
    """Let a paused schedule go on; False where it is not paused."""
    return tx.connection.execute(_RESUME, {"schedule": schedule_id}).rowcount == 1


def any_pause_over(connection: Connection) -> bool:
    """Say whether the end of a pause has come."""
    return connection.execute(_OVER, {"most": 1}).first() is not None


def end_pauses(tx: Transaction, most: int) -> list[AnyRow]:
    """Let up to *most* schedules go on whose pause is over; returns tenant and name of each."""
    found = tx.connection.execute(_OVER, {"most": most}).all()
    return [row for row in found if tx.connection.execute(_END_PAUSE, {"schedule": row.id}).rowcount == 1]


def remove_schedule(tx: Transaction, schedule_id: uuid.UUID) -> None:
    """Delete a schedule; its workflows stay."""
    tx.connection.execute(delete(ScheduleRow).where(_is_mine), {"schedule": schedule_id})


def note_change(
    tx: Transaction,
    schedule: AnyRow,
    action: ScheduleAction,
    *,
    actor: str,
    reason: str,
    action_id: uuid.UUID | None = None,
    details: str | None = None,
    until: datetime | None = None,
) -> None:
    """Write one change of a schedule, of which *schedule* has tenant and name, into its history."""
    values = {"id": action_id or new_id(), "tenant": schedule.tenant, "name": schedule.name, "action": action}
    values |= {"details": details, "until": until, "actor": actor, "reason": reason}
    tx.connection.execute(insert(ScheduleChangeRow), values)


def find_change(tx: Transaction, change_id: uuid.UUID) -> AnyRow | None:
    """Return a change that was done before; None where it was not."""
    return tx.connection.execute(_CHANGE, {"change": change_id}).one_or_none()
