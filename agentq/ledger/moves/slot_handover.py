"""The hand-over of a slot, for PostgreSQL: CTEs of the statement that ends a job.

While jobs wait in the line, the one that comes next takes the slot over, and the row of the limit is not written:
so those who end at the same time do not wait for each other.
"""

from __future__ import annotations

from sqlalchemy import CTE, ColumnElement, and_, bindparam, func, literal_column, or_, select, true, update

from agentq.ledger.db.types import UtcDateTime
from agentq.ledger.models import JobRow, LimitRow, TenantRow, TurnRow
from agentq.ledger.moves.limits import IN_LINE, LIMIT, MOST_TENANTS, WAITS, is_idle_after
from agentq.ledger.moves.meters import AT_ONCE, IS_OPEN, MORE_TOKENS, ROOM, SLOTS, TOKENS_DUE_AFTER
from agentq.ledger.moves.pace import IS_PACED_SOON
from agentq.ledger.moves.ramp import given_back
from agentq.ledger.moves.ready import ADMITTED, PLACE
from agentq.ledger.moves.shared import DISPATCH
from agentq.states import JobStatus

_began_at = bindparam("began_at", type_=UtcDateTime())
# In the ramp after a cooldown the success counts, so the row of the limit is written.
_may_go_on = (
    select(and_(LimitRow.used <= SLOTS, IS_OPEN, LimitRow.ramp.is_(None)))
    .where(LimitRow.name == LIMIT)
    .scalar_subquery()
)


def handing_slot_over(done: CTE) -> tuple[CTE, CTE, CTE]:
    """Return the CTEs that give the slot of a job that *done* has ended to the next job, if that needs no other.

    The first has the columns of DISPATCH of the job that is admitted. The second counts the turn of its tenant.
    The third frees the slot where none is admitted, and says whether jobs may wait for it.
    """
    is_done = _is_done(done)
    tenants = (
        select(TurnRow.tenant)
        .where(TurnRow.name == LIMIT, WAITS, is_done, _may_go_on)
        .order_by(TurnRow.served, TurnRow.tenant)
        .limit(literal_column(str(MOST_TENANTS)))
        .subquery("tenants")
    )
    first = (
        select(JobRow.id)
        .where(IN_LINE, JobRow.tenant == tenants.c.tenant)
        .order_by(*PLACE)
        .limit(literal_column("1"))
        .with_for_update(skip_locked=True, key_share=True)
        .lateral("first")
    )
    picked = select(first.c.id).select_from(tenants.join(first, true())).limit(literal_column("1")).cte("picked")
    admitted = (
        update(JobRow)
        .where(
            JobRow.id == select(picked.c.id).scalar_subquery(),
            JobRow.status == JobStatus.BLOCKED,
            func.cardinality(JobRow.limits) == 1,
            JobRow.pays.is_(False),  # its time has to come first
        )
        .values(ADMITTED | {"held": 1})
        .returning(*DISPATCH)
        .cte("admitted")
    )
    tenant = select(admitted.c.tenant).scalar_subquery()
    weight = func.coalesce(select(TenantRow.weight).where(TenantRow.tenant == tenant).scalar_subquery(), 1.0)
    not_it = JobRow.id != select(admitted.c.id).scalar_subquery()
    others = select(JobRow.id).where(IN_LINE, JobRow.tenant == tenant, not_it).limit(literal_column("1"))
    turned = (
        update(TurnRow)
        .where(TurnRow.name == LIMIT, TurnRow.tenant == tenant)
        .values(served=TurnRow.served + 1.0 / weight, is_idle=is_idle_after(tenant, others))
        .cte("turned")
    )
    freed = (
        update(LimitRow)
        .where(LimitRow.name == LIMIT, is_done, ~select(admitted.c.id).exists())
        .values(given_back(_began_at, true()))
        .returning(LimitRow.is_awaited)
        .cte("freed")
    )
    return admitted, turned, freed


def freeing_slot(done: CTE) -> CTE:
    """Return the CTE that frees the slot of a job that *done* has ended, and counts the tokens that it has used.

    For a job that pays: the start of the next one may not be due. It says whether one is to be admitted now. Where
    the next one waits for its time, and not for what this job gives back, the pacer of the limit admits it.
    """
    gives_room = or_(AT_ONCE - LimitRow.used <= 1, LimitRow.ramp.is_not(None), MORE_TOKENS < 0)
    is_to_admit = and_(LimitRow.is_awaited, ROOM > 0, or_(gives_room, func.coalesce(~IS_PACED_SOON, true())))
    return (
        update(LimitRow)
        .where(LimitRow.name == LIMIT, _is_done(done))
        .values(given_back(_began_at, true()) | {"tokens_due": TOKENS_DUE_AFTER})
        .returning(is_to_admit.label("is_awaited"))
        .cte("freed")
    )


def _is_done(done: CTE) -> ColumnElement[bool]:
    return select(func.count()).select_from(done).scalar_subquery() == 1
