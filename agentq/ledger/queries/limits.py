"""Limits as operators ask for them: slots, the jobs that hold one, and the lines of those that wait."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Float, Integer, and_, bindparam, func, literal, literal_column, select

from agentq.ledger.db.leaps import distinct_by_index
from agentq.ledger.db.types import AnyRow, greatest, is_among_first, now
from agentq.ledger.models import HoldRow, JobRow, LimitChangeRow, LimitRow, TenantRow, TurnRow
from agentq.ledger.moves.holds import KEPT
from agentq.ledger.moves.limits import BLOCKED_BY_LIMIT, IN_LINE, LIMIT
from agentq.ledger.moves.meters import AT_ONCE, IN_FORCE, IS_OPEN, IS_OVERRIDDEN, RATE, TOKENS
from agentq.ledger.moves.ready import PLACE
from agentq.states import BlockedBy, JobStatus

MOST = 1_000
"""Jobs of a line up to which they are counted."""
_MOST_NEAR = 500
"""Limits before a name, and as many after it, that may be the one that was meant."""

_MOST = bindparam("most", type_=Integer())
_NO_TIME = literal_column("0.0", Float())


def _counted(table: Any, *where: Any) -> Any:
    """Count jobs for each row of *table*, up to MOST; one more where there are more."""
    first = select(literal(1)).where(BLOCKED_BY_LIMIT, *where).limit(MOST + 1).correlate(table).subquery()
    return select(func.count()).select_from(first).correlate(table).scalar_subquery().label("waiting")


_TIMES = {
    "next_start_in": greatest(_NO_TIME, func.coalesce(RATE.lead - (RATE.burst - 1) * RATE.gap, _NO_TIME)),
    "start_gap": RATE.gap,
    "tokens_lead": TOKENS.lead,
    "token_gap": TOKENS.gap,
    "tokens_at_once": TOKENS.burst,
}
"""Seconds: to the next start, and from one to the next; of tokens that are owed."""
_LIMITS = select(
    LimitRow.name,
    LimitRow.used,
    AT_ONCE.label("at_once"),
    *IN_FORCE,
    *(seconds.label(name) for name, seconds in _TIMES.items()),
    LimitRow.cooldown_until,
    (~IS_OPEN).label("cools"),
    now().label("read_at"),
    LimitRow.cooldown_reason,
    LimitRow.ramp,
    IS_OVERRIDDEN.label("is_overridden"),
    LimitRow.override,
    LimitRow.override_rate,
    LimitRow.override_rate_per,
    LimitRow.override_tokens,
    LimitRow.override_tokens_per,
    LimitRow.override_until,
    LimitRow.actor,
    LimitRow.reason,
    LimitRow.from_file,
)
_LISTED = _LIMITS.add_columns(_counted(LimitRow, JobRow.blocked_on == LimitRow.name))
_FIND = _LISTED.order_by(LimitRow.is_awaited.desc(), LimitRow.name).limit(_MOST)
_LISTED_NAMED = _LISTED.where(LimitRow.name.in_(bindparam("limits", expanding=True))).order_by(LimitRow.name)
_GET = _LISTED.where(LimitRow.name == LIMIT)
_kept = select(func.count()).where(HoldRow.name == LimitRow.name, KEPT).scalar_subquery()
_kept_until = select(func.min(HoldRow.until)).where(HoldRow.name == LimitRow.name, KEPT).scalar_subquery()
_NAMED = _LIMITS.add_columns(_kept.label("kept"), _kept_until.label("kept_until")).where(
    LimitRow.name.in_(bindparam("limits", expanding=True))
)
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
_its_attempt_runs = and_(JobRow.status == JobStatus.RUNNING, JobRow.attempt == HoldRow.attempt)
_HOLDS_BESIDE = (
    select(
        HoldRow.job_id,
        JobRow.step,
        HoldRow.attempt,
        _its_attempt_runs.label("is_running"),
        HoldRow.until,
        HoldRow.created_at,
    )
    .join(JobRow, JobRow.id == HoldRow.job_id)
    .where(HoldRow.name == LIMIT)
    .order_by(HoldRow.id.desc())
    .limit(_MOST)
)
_CHANGES = (
    select(LimitChangeRow.__table__)
    .where(LimitChangeRow.name == LIMIT)
    .order_by(LimitChangeRow.id.desc())
    .limit(_MOST)
)
_FIRST_IN_LINE = (
    select(JobRow.id).where(IN_LINE, JobRow.tenant == bindparam("tenant")).order_by(*PLACE).limit(MOST)
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
    in_line = [row for row in rows if row.status == JobStatus.BLOCKED and row.blocked_by == BlockedBy.LIMIT]
    blocked = {(row.blocked_on, row.tenant) for row in in_line}
    if not blocked:
        return Lines({}, {})
    limits = _NAMED, {"limits": sorted({limit for limit, _ in blocked})}
    places: dict[uuid.UUID, int] = {}
    for limit, tenant in blocked:
        first = connection.scalars(_FIRST_IN_LINE, {"limit": limit, "tenant": tenant})
        places.update({job_id: place for place, job_id in enumerate(first, 1)})
    return Lines({row.name: row for row in connection.execute(*limits)}, places)


def cools_for(limit: AnyRow) -> float | None:
    """Return the seconds to the end of a limit's cooldown; None where it is open."""
    return (limit.cooldown_until - limit.read_at).total_seconds() if limit.cools else None


def find(connection: Connection, most: int) -> Sequence[AnyRow]:
    """Return up to *most* limits, those first that jobs may wait for, by name."""
    return connection.execute(_FIND, {"most": most}).all()


def named(connection: Connection, names: Collection[str]) -> Sequence[AnyRow]:
    """Return the limits of these names, in their order."""
    return connection.execute(_LISTED_NAMED, {"limits": list(names)}).all()


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


def holds(connection: Connection, name: str, most: int) -> Sequence[AnyRow]:
    """Return up to *most* slots of a limit that attempts hold beside those of their jobs, newest first."""
    return connection.execute(_HOLDS_BESIDE, {"limit": name, "most": most}).all()


def changes(connection: Connection, name: str, most: int) -> Sequence[AnyRow]:
    """Return the last changes that operators made to a limit, newest first."""
    return connection.execute(_CHANGES, {"limit": name, "most": most}).all()
