"""Caps: how many workflows of a tenant may be open, and how many jobs of a step may wait.

The insert of a workflow itself asks for room of its tenant, so that a start costs no statement more. A start sees
what was committed before it: of several at the same time, each may take the last place.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Any, TypedDict

from sqlalchemy import Connection, Integer, String, and_, bindparam, case, func, literal_column, select, text, true

from agentq.exceptions import BacklogFull
from agentq.ledger.db.types import AnyRow, now
from agentq.ledger.models import JobRow, TenantRow, WorkflowRow
from agentq.states import JOB_BACKLOG, WorkflowStatus


class Guard(Enum):
    """The question that an insert of workflows asks first; without a yes it writes none of them."""

    NONE = auto()
    """No question: they are written whatever is open."""
    NO_CAP = auto()
    """Has no operator set a cap of their tenant? That is cheap, and is enough where code has no cap."""
    ROOM = auto()
    """Has their tenant room for them? That is counted."""


class Room(TypedDict):
    """The room that an insert of workflows needs.

    ``max_open`` is the cap of code, for a tenant without one of an operator.
    """

    of_tenant: str
    max_open: int | None
    places: int


_TENANT = bindparam("of_tenant", type_=String())
_MAX_OPEN = bindparam("max_open", type_=Integer())
_PLACES = bindparam("places", type_=Integer())
_MOST = bindparam("most", type_=Integer())
_OPEN = and_(WorkflowRow.tenant == _TENANT, WorkflowRow.status == WorkflowStatus.RUNNING)
# Written as the index of these rows has it: SQLite takes that for no other text.
_WAITS = and_(
    JobRow.step == bindparam("of_step", type_=String()),
    text("agentq_jobs.is_counted"),
    JobRow.status.in_(sorted(JOB_BACKLOG)),
)

_of_operator = select(TenantRow.max_open).where(TenantRow.tenant == _TENANT).scalar_subquery()
_cap = func.coalesce(_of_operator, _MAX_OPEN)
# Of both databases, SQLite alone would bind the offset, to a name of its own.
_open = (
    select(literal_column("1").label("one"))
    .where(_OPEN)
    .order_by(WorkflowRow.created_at)
    .limit(_cap)
    .offset(literal_column("0"))
    .subquery()
)
_count = select(func.count()).select_from(_open).scalar_subquery()
# PostgreSQL takes a limit of NULL for none: so the case, without which all would be counted where there is no cap.
_has_room = case((_cap.is_(None), true()), else_=_count + _PLACES <= _cap)
CONDITIONS = {Guard.NONE: true(), Guard.NO_CAP: _of_operator.is_(None), Guard.ROOM: _has_room}
"""The conditions of an insert, by its guard; of the values of a ``Room``."""

_CAP = select(_cap)


def _counted(created_at: Any, which: Any) -> Any:
    first = select(created_at.label("created_at")).where(which).order_by(created_at).limit(_MOST).subquery()
    oldest = func.min(first.c.created_at).label("oldest_at")
    return select(func.count().label("counted"), oldest, now().label("read_at")).select_from(first)


_COUNT_OPEN = _counted(WorkflowRow.created_at, _OPEN)
_COUNT_WAITING = _counted(JobRow.created_at, _WAITS)


def full_tenant(connection: Connection, room: Room) -> BacklogFull | None:
    """Return the error of a tenant that does not have this room; None where it has."""
    tenant, places = room["of_tenant"], room["places"]
    most = connection.scalar(_CAP, {"of_tenant": tenant, "max_open": room["max_open"]})
    if most is None:
        return None
    row = count_open(connection, tenant, most)
    return BacklogFull("max_open", tenant, most, places, *_seen(row)) if row.counted + places > most else None


def full_step(connection: Connection, step: str, most: int, places: int) -> BacklogFull | None:
    """Return the error of a step of which *most* jobs may wait, and that has fewer places than these; or None."""
    row = connection.execute(_COUNT_WAITING, {"of_step": step, "most": most}).one()
    return BacklogFull("max_backlog", step, most, places, *_seen(row)) if row.counted + places > most else None


def _seen(row: AnyRow) -> tuple[int, float]:
    return row.counted, (row.read_at - row.oldest_at).total_seconds() if row.counted else 0.0


def count_open(connection: Connection, tenant: str, most: int) -> AnyRow:
    """Return the open workflows of a tenant as ``counted`` up to *most*, and ``oldest_at`` where there is one."""
    return connection.execute(_COUNT_OPEN, {"of_tenant": tenant, "most": most}).one()
