"""The admission of the jobs of a limit that can start soon, for PostgreSQL: one statement.

It serves lines whose jobs need no other limit; a caretaker sends it each time that a job can start.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Float, Integer, bindparam, case, func, literal_column, select, true, update

from agentq.ledger.db.statement import Prepared
from agentq.ledger.db.types import AnyRow, clock, greatest, least, seconds_from_now, seconds_of
from agentq.ledger.models import JobRow, LimitRow, TenantRow, TurnRow
from agentq.ledger.moves.limits import IN_LINE, LIMIT, MOST_TENANTS, WAITS, is_idle_after
from agentq.ledger.moves.meters import RATE, ROOM, SOON, TOKENS
from agentq.ledger.moves.pace import GRACE, MAY_PACE, PACER
from agentq.ledger.moves.ready import ADMITTED, PLACE
from agentq.ledger.moves.shared import DISPATCH
from agentq.ledger.transaction import Transaction
from agentq.states import JobStatus


@dataclass(frozen=True, slots=True)
class Paced:
    """The jobs that were admitted, with the columns of DISPATCH, and the seconds until the next one may be."""

    admitted: Sequence[AnyRow]
    seconds: float
    is_complete: bool
    """False where there is room still: jobs that need other limits too, or none, are left to other statements."""


def _statement(most: int) -> Prepared:
    zero, one = literal_column("0", Integer()), literal_column("1", Integer())
    locked = (
        select(LimitRow.name, greatest(zero, least(ROOM, literal_column(str(most), Integer()))).label("room"))
        .where(LimitRow.name == LIMIT, MAY_PACE, TOKENS.limit.is_(None))
        .with_for_update(key_share=True)
        .cte("locked")
    )
    # A limit without a number lets all pass: where there is no row, the number is 0.
    room = func.coalesce(select(locked.c.room).scalar_subquery(), zero)
    turns = (
        select(TurnRow.tenant)
        .where(TurnRow.name == LIMIT, WAITS, room > zero)
        .order_by(TurnRow.served, TurnRow.tenant)
        .limit(least(room, literal_column(str(MOST_TENANTS), Integer())))
        .cte("turns")
    )
    tenants = select(func.count()).select_from(turns).scalar_subquery()
    first = (
        select(JobRow.id)
        .where(IN_LINE, JobRow.tenant == turns.c.tenant)
        .order_by(*PLACE)
        .limit((room + tenants - one) // greatest(tenants, one))
        .with_for_update(skip_locked=True, key_share=True)
        .lateral("first")
    )
    picked = select(first.c.id).select_from(turns.join(first, true())).limit(room).cte("picked")
    admitted = (
        update(JobRow)
        .where(
            JobRow.id == func.any(func.array(select(picked.c.id).scalar_subquery())),
            JobRow.status.is_not_distinct_from(JobStatus.BLOCKED),
            func.cardinality(JobRow.limits) == 1,
            JobRow.pays,
        )
        .values(ADMITTED | {"held": 1, "is_outstanding": true()})
        .returning(*DISPATCH)
        .cte("admitted")
    )
    of_tenant = admitted.c.tenant == TurnRow.tenant
    weight = select(TenantRow.weight).where(TenantRow.tenant == TurnRow.tenant).scalar_subquery()
    share = 1.0 / func.coalesce(weight, 1.0)
    served = share * select(func.count()).select_from(admitted).where(of_tenant).scalar_subquery()
    others = select(JobRow.id).where(
        IN_LINE, JobRow.tenant == TurnRow.tenant, JobRow.id.not_in(select(admitted.c.id))
    )
    turned = (
        update(TurnRow)
        .where(TurnRow.name == LIMIT, TurnRow.tenant.in_(select(admitted.c.tenant)))
        .values(served=TurnRow.served + served, is_idle=is_idle_after(TurnRow.tenant, others.limit(one)))
        .returning(TurnRow.name)
        .cte("turned")
    )
    count = select(func.count()).select_from(admitted).scalar_subquery()
    counted = (
        update(LimitRow)
        .where(LimitRow.name == select(locked.c.name).scalar_subquery())
        .values(
            used=LimitRow.used + count,
            outstanding=LimitRow.outstanding + count,
            paced_by=PACER,
            paced_until=seconds_from_now(_next_look_after(count, count) + GRACE),
        )
        .returning(_next_look_after(zero, count).label("seconds"))
        .cte("counted")
    )
    columns = (counted.c.seconds, locked.c.room, *admitted.c)
    joined = counted.join(locked, true()).outerjoin(admitted, true())
    return Prepared(select(*columns).select_from(joined).add_cte(turned))


def _seconds_after(admitted: Any) -> Any:
    """Return the seconds until a job may be admitted after the *admitted* ones."""
    nothing = literal_column("0.0", Float())
    due = RATE.lead + (LimitRow.outstanding + admitted + 1 - RATE.burst) * RATE.gap - SOON
    cooldown = seconds_of(LimitRow.cooldown_until) - clock()
    return greatest(nothing, func.coalesce(due, nothing), func.coalesce(cooldown, nothing))


def _next_look_after(admitted: Any, count: Any) -> Any:
    """Return ``_seconds_after`` the *admitted* ones; at least a pause, where the *count* of this look is 0."""
    pause = case((count > 0, literal_column("0.0", Float())), else_=_PAUSE)
    return greatest(_seconds_after(admitted), pause)


_PAUSE = bindparam("pause", type_=Float())
_MOST = 20
"""Jobs that one statement admits: others wait for its lock on the limit."""
_ADMIT_PACED = _statement(_MOST)


def admit_paced(tx: Transaction, limit: str, pacer: uuid.UUID, pause: float = 0.0) -> Paced | None:
    """Blocked to queued for the jobs of *limit* that can start soon, if the caretaker *pacer* may pace it.

    Where there are none, it looks again after *pause* seconds at the earliest.
    None where it may not, or where the limit counts tokens, of which each job takes another number.
    """
    rows = _ADMIT_PACED.all(tx.connection, {"limit": limit, "pacer": pacer, "pause": pause})
    if not rows:
        return None
    admitted = [row for row in rows if row.id is not None]
    return Paced(admitted, rows[0].seconds, len(admitted) >= rows[0].room)
