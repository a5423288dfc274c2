"""Limits as operators ask for them: slots, the jobs that hold one, and the lines of those that wait."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Integer, bindparam, func, literal, select

from agentq.ledger.db.leaps import distinct_by_index
from agentq.ledger.db.types import AnyRow, is_among_first
from agentq.ledger.models import JobRow, LimitChangeRow, LimitRow, TenantRow, TurnRow
from agentq.ledger.moves.limits import BLOCKED_BY_LIMIT, IN_LINE, IS_OVERRIDDEN, LIMIT, SLOTS
from agentq.states import JobStatus

MOST = 1_000
"""Jobs of a line up to which they are counted."""
_MOST_NEAR = 500
"""Limits before a name, and as many after it, that may be the one that was meant."""

_MOST = bindparam("most", type_=Integer())


def _counted(table: Any, *where: Any) -> Any:
    """Count jobs for each row of *table*, up to MOST; one more where there are more."""
    first = select(literal(1)).where(BLOCKED_BY_LIMIT, *where).limit(MOST + 1).correlate(table).subquery()
    return select(func.count()).select_from(first).correlate(table).scalar_subquery().label("waiting")


_LIMITS = select(
    LimitRow.name,
    LimitRow.declared,
    LimitRow.used,
    SLOTS.label("slots"),
    IS_OVERRIDDEN.label("is_overridden"),
    LimitRow.override_until,
    LimitRow.actor,
    LimitRow.reason,
)
_LISTED = _LIMITS.add_columns(_counted(LimitRow, JobRow.blocked_on == LimitRow.name))
_FIND = _LISTED.order_by(LimitRow.is_awaited.desc(), LimitRow.name).limit(_MOST)
_GET = _LISTED.where(LimitRow.name == LIMIT)
_NAMED = _LIMITS.where(LimitRow.name.in_(bindparam("limits", expanding=True)))
_NEAR = (
    select(LimitRow.name).where(LimitRow.name < LIMIT).order_by(LimitRow.name.desc()).limit(_MOST_NEAR),
    select(LimitRow.name).where(LimitRow.name > LIMIT).order_by(LimitRow.name).limit(_MOST_NEAR),
)

_tenants = distinct_by_index(JobRow.tenant, IN_LINE)
_turns = (
    select(
        _tenants.c.tenant,
        func.coalesce(TenantRow.weight, 1.0).label("weight"),
        func.coalesce(TurnRow.served, 0.0).label("served"),
    )
    .outerjoin(TurnRow, (TurnRow.name == LIMIT) & (TurnRow.tenant == _tenants.c.tenant))
    .outerjoin(TenantRow, TenantRow.tenant == _tenants.c.tenant)
    .where(_tenants.c.tenant.is_not(None))
    .order_by("served", _tenants.c.tenant)
    .limit(_MOST)
    .subquery()
)
_LINES_OF_TENANTS = select(
    *_turns.c, _counted(_turns, JobRow.blocked_on == LIMIT, JobRow.tenant == _turns.c.tenant)
).order_by(_turns.c.served, _turns.c.tenant)

_HOLDS = is_among_first(JobRow.limits, JobRow.held, LIMIT)
_held = select(JobRow.id).where(JobRow.held > 0, _HOLDS).limit(_MOST)
# In the order of the index of each status, so that it is read, and only as far as there are holders. The queued
# ones come last: there may be very many without a limit.
_HOLDERS = (
    _held.where(JobRow.status == JobStatus.RUNNING).order_by(JobRow.worker_id),
    _held.where(JobRow.id == select(LimitRow.kept_for).where(LimitRow.name == LIMIT).scalar_subquery()),
    _held.where(JobRow.status == JobStatus.QUEUED).order_by(JobRow.queue, JobRow.dispatched_at),
)
_USED = select(LimitRow.used).where(LimitRow.name == LIMIT)
_CHANGES = (
    select(LimitChangeRow.__table__)
    .where(LimitChangeRow.name == LIMIT)
    .order_by(LimitChangeRow.id.desc())
    .limit(_MOST)
)
_FIRST_IN_LINE = (
    select(JobRow.id)
    .where(IN_LINE, JobRow.tenant == bindparam("tenant"))
    .order_by(JobRow.rank_at, JobRow.id)
    .limit(MOST)
)


@dataclass(frozen=True, slots=True)
class Lines:
    """The limits that jobs wait for, by name, and the places of these jobs among those of their tenants, from 1.

    A job without a place stands after MOST others.
    """

    limits: Mapping[str, AnyRow]
    places: Mapping[uuid.UUID, int]


def lines_of(connection: Connection, rows: Sequence[AnyRow]) -> Lines:
    """Return the lines that these jobs stand in; asks nothing where none does."""
    blocked = {(row.blocked_on, row.tenant) for row in rows if row.status == JobStatus.BLOCKED}
    if not blocked:
        return Lines({}, {})
    limits = _NAMED, {"limits": sorted({limit for limit, _ in blocked})}
    places: dict[uuid.UUID, int] = {}
    for limit, tenant in blocked:
        first = connection.scalars(_FIRST_IN_LINE, {"limit": limit, "tenant": tenant})
        places.update({job_id: place for place, job_id in enumerate(first, 1)})
    return Lines({row.name: row for row in connection.execute(*limits)}, places)


def find(connection: Connection, most: int) -> Sequence[AnyRow]:
    """Return up to *most* limits, those first that jobs may wait for, by name."""
    return connection.execute(_FIND, {"most": most}).all()


def get(connection: Connection, name: str) -> AnyRow | None:
    """Return one limit, or None."""
    return connection.execute(_GET, {"limit": name}).one_or_none()


def near(connection: Connection, name: str) -> list[str]:
    """Return the names of limits that are next to a name in their order."""
    return [found for query in _NEAR for found in connection.scalars(query, {"limit": name})]


def lines_of_tenants(connection: Connection, name: str, most: int) -> Sequence[AnyRow]:
    """Return up to *most* tenants whose jobs stand in the line of a limit, the next one first."""
    return connection.execute(_LINES_OF_TENANTS, {"limit": name, "most": most}).all()


def holders(connection: Connection, name: str, most: int) -> list[uuid.UUID]:
    """Return up to *most* jobs that hold a slot of a limit: that run, are queued, or keep it while they wait."""
    most = min(most, connection.scalar(_USED, {"limit": name}) or 0)
    found: list[uuid.UUID] = []
    for query in _HOLDERS:
        if len(found) < most:  # else all are found, and no more rows are read
            found += connection.scalars(query, {"limit": name, "most": most - len(found)})
    return found


def changes(connection: Connection, name: str, most: int) -> Sequence[AnyRow]:
    """Return the last changes that operators made to a limit, newest first."""
    return connection.execute(_CHANGES, {"limit": name, "most": most}).all()
