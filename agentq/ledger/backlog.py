"""Caps: how many workflows of a tenant may be open, and how many jobs of a step may wait.

The insert of a workflow itself asks for room of its tenant, so that a start costs no statement more. A start sees
what was committed before it: of several at the same time, each may take the last place.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, TypedDict

from sqlalchemy import (
    Connection,
    Integer,
    String,
    and_,
    bindparam,
    case,
    false,
    func,
    literal_column,
    or_,
    select,
    text,
    true,
)

from agentq.exceptions import BacklogFull
from agentq.ledger.db.types import AnyRow, now
from agentq.ledger.models import JobRow, TenantRow, WorkflowRow
from agentq.ledger.moves.postponed import IN_LINE_OF_CAP, awaited_line
from agentq.states import JOB_BACKLOG, BlockedBy, WorkflowStatus


class Guard(Enum):
    """The question that an insert of workflows asks first; without a yes it writes none of them."""

    NONE = auto()
    """No question: they are written whatever is open."""
    NO_CAP = auto()
    """Has no operator set a cap of their tenant? That is cheap, and is enough where code has no cap."""
    ROOM = auto()
    """Has their tenant room for them? That is counted."""
    POSTPONE = auto()
    """No question: they are written as postponed."""


class Room(TypedDict):
    """The room that an insert of workflows needs.

    ``max_open`` is the cap of code, for a tenant without one of an operator.
    """

    of_tenant: str
    max_open: int | None
    places: int


@dataclass(frozen=True, slots=True)
class Postponement:
    """The line in which workflows are postponed, and the cap of its step where it is one of a step."""

    line: str
    max_backlog: int | None


_NONE, _ONE = literal_column("0", Integer()), literal_column("1", Integer())
_TENANT = bindparam("of_tenant", type_=String())
_MAX_OPEN = bindparam("max_open", type_=Integer())
_PLACES = bindparam("places", type_=Integer())
_MOST = bindparam("most", type_=Integer())
_OPEN = and_(
    WorkflowRow.tenant == _TENANT,
    WorkflowRow.status == WorkflowStatus.RUNNING,
    WorkflowRow.postponed_on.is_(None),
)
# Written as the index of these rows has it: SQLite takes that for no other text.
_WAITS = and_(
    JobRow.step == bindparam("of_step", type_=String()),
    text("agentq_jobs.is_counted"),
    JobRow.status.in_(sorted(JOB_BACKLOG)),
    or_(JobRow.blocked_by.is_(None), JobRow.blocked_by != BlockedBy.BACKLOG),
)

_of_operator = select(TenantRow.max_open).where(TenantRow.tenant == _TENANT).scalar_subquery()
_cap = func.coalesce(_of_operator, _MAX_OPEN)


def _up_to(most: Any, row: Any, which: Any) -> Any:
    """Count the rows of one kind, oldest first, as far as *most*."""
    # Of both databases, SQLite alone would bind the offset, to a name of its own.
    some = select(_ONE.label("one")).where(which).order_by(row.created_at).limit(most).offset(literal_column("0"))
    return select(func.count()).select_from(some.subquery()).scalar_subquery()


_count = _up_to(_cap, WorkflowRow, _OPEN)
# PostgreSQL takes a limit of NULL for none: so the case, without which all would be counted where there is no cap.
_has_room = case(
    (_cap.is_(None), true()), (awaited_line(_TENANT).is_not(None), false()), else_=_count + _PLACES <= _cap
)
CONDITIONS = {
    Guard.NONE: true(),
    Guard.NO_CAP: _of_operator.is_(None),
    Guard.ROOM: _has_room,
    Guard.POSTPONE: true(),
}
"""The conditions of an insert, by its guard; of the values of a ``Room``."""

_CAP = select(_cap.label("cap"), awaited_line(_TENANT).label("line"))


def _of_first(column: Any) -> Any:
    first = select(column).where(IN_LINE_OF_CAP).order_by(WorkflowRow.created_at, WorkflowRow.id).limit(_ONE)
    return first.scalar_subquery()


_FIRST = (
    select(WorkflowRow.created_at, WorkflowRow.id)
    .where(IN_LINE_OF_CAP)
    .order_by(WorkflowRow.created_at, WorkflowRow.id)
    .limit(_ONE)
)
_is_awaited = _of_first(_ONE).is_not(None)
_cap_of_line = func.coalesce(_of_operator, _of_first(WorkflowRow.max_open))
_cap_of_step = _of_first(WorkflowRow.max_backlog)
_ROOM = {
    "max_open": select(
        case(
            (~_is_awaited, _NONE),
            (_cap_of_line.is_(None), _MOST),
            else_=_cap_of_line - _up_to(_cap_of_line, WorkflowRow, _OPEN),
        )
    ),
    "max_backlog": select(
        case((~_is_awaited, _NONE), else_=_cap_of_step - _up_to(_cap_of_step, JobRow, _WAITS)),
    ),
}
_STEP_IS_AWAITED = select(_is_awaited)


def _counted(created_at: Any, which: Any) -> Any:
    first = select(created_at.label("created_at")).where(which).order_by(created_at).limit(_MOST).subquery()
    oldest = func.min(first.c.created_at).label("oldest_at")
    return select(func.count().label("counted"), oldest, now().label("read_at")).select_from(first)


_COUNT_OPEN = _counted(WorkflowRow.created_at, _OPEN)
_COUNT_WAITING = _counted(JobRow.created_at, _WAITS)


def full_tenant(connection: Connection, room: Room) -> BacklogFull | None:
    """Return the error of a tenant that does not have this room; None where it has."""
    tenant, places = room["of_tenant"], room["places"]
    most, line = connection.execute(_CAP, {"of_tenant": tenant, "max_open": room["max_open"]}).one()
    if most is None:
        return None
    row = count_open(connection, tenant, most)
    is_full = line is not None or row.counted + places > most
    return BacklogFull("max_open", tenant, most, places, *_seen(row)) if is_full else None


def full_step(connection: Connection, step: str, most: int, places: int) -> BacklogFull | None:
    """Return the error of a step of which *most* jobs may wait, and that has fewer places than these; or None."""
    row = count_waiting(connection, step, most)
    is_full = row.counted + places > most or connection.scalar(
        _STEP_IS_AWAITED, {"line": line_of("max_backlog", step)}
    )
    return BacklogFull("max_backlog", step, most, places, *_seen(row)) if is_full else None


def postponement(full: BacklogFull) -> Postponement:
    """Return the line in which workflows are postponed that *full* would refuse."""
    return Postponement(line_of(full.cap, full.of), full.most if full.cap == "max_backlog" else None)


def awaited_beside(connection: Connection, line: str, workflow: AnyRow) -> Postponement | None:
    """Return where a postponed workflow has to wait that would be let in from a *line*; None where it need not.

    That is the line of another of its caps, where there is no room, or older ones wait. Younger ones do not count:
    else two workflows that are each first in one of two lines would change places for ever.
    """
    caps = [(line_of("max_backlog", step), step, most) for step, most in json.loads(workflow.caps or "{}").items()]
    for other, step, most in sorted(caps):
        if other != line and (
            count_waiting(connection, step, most).counted >= most or _is_behind(connection, other, workflow)
        ):
            return Postponement(other, most)
    other, tenant = line_of("max_open", workflow.tenant), workflow.tenant
    if other == line:
        return None
    most = connection.execute(_CAP, {"of_tenant": tenant, "max_open": workflow.max_open}).one().cap
    if most is None:
        return None
    is_full = count_open(connection, tenant, most).counted >= most or _is_behind(connection, other, workflow)
    return Postponement(other, None) if is_full else None


def _is_behind(connection: Connection, line: str, workflow: AnyRow) -> bool:
    first = connection.execute(_FIRST, {"line": line}).one_or_none()
    return first is not None and (first.created_at, first.id) < (workflow.created_at, workflow.id)


def line_of(cap: str, of: str) -> str:
    """Return the line of the cap of a tenant or a step."""
    return f"{cap}:{of}"


def room_of(connection: Connection, line: str, most: int) -> int:
    """Return how many workflows in a line may be let in now, up to *most*; 0 where none stands there."""
    cap, of = line.split(":", 1)
    values = {"line": line, "most": most, "of_tenant": of, "of_step": of}
    names = {name: values[name] for name in _ROOM[cap].compile().params}
    return max(0, min(most, connection.scalar(_ROOM[cap], names) or 0))


def _seen(row: AnyRow) -> tuple[int, float]:
    return row.counted, (row.read_at - row.oldest_at).total_seconds() if row.counted else 0.0


def count_open(connection: Connection, tenant: str, most: int) -> AnyRow:
    """Return the open workflows of a tenant as ``counted`` up to *most*, and ``oldest_at`` where there is one."""
    return connection.execute(_COUNT_OPEN, {"of_tenant": tenant, "most": most}).one()


def count_waiting(connection: Connection, step: str, most: int) -> AnyRow:
    """Return the jobs of a step that wait as ``counted`` up to *most*, and ``oldest_at`` where there is one."""
    return connection.execute(_COUNT_WAITING, {"of_step": step, "most": most}).one()
