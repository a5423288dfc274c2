"""The take back: a job that waits for a worker gives its slots back, and stands in the line again, at its end."""

from __future__ import annotations

import uuid

from sqlalchemy import Connection, String, bindparam, false, literal_column, select, text, update
from sqlalchemy.orm import aliased

from agentq.ledger.db.types import AnyRow, is_among_first, item_of, now
from agentq.ledger.models import JobRow, LimitRow
from agentq.ledger.moves.limits import await_slot, charge_turn, free_slots
from agentq.ledger.moves.shared import JOB_ID
from agentq.ledger.moves.timed import UNCLAIMED
from agentq.ledger.transaction import Transaction
from agentq.states import BlockedBy, JobStatus

_waiting = aliased(JobRow)
# Not EXISTS: PostgreSQL would make a join of it, which may read the whole line.
_waits = (
    select(_waiting.id)
    .where(
        _waiting.status == JobStatus.BLOCKED,
        _waiting.blocked_by == BlockedBy.LIMIT,
        _waiting.blocked_on == LimitRow.name,
    )
    .limit(literal_column("1"))
    .scalar_subquery()
)
_others_wait = (
    select(LimitRow.name)
    .where(
        # Written as the index of these rows has it: SQLite takes that for no other text.
        text("agentq_limits.is_awaited"),
        is_among_first(JobRow.limits, JobRow.held, LimitRow.name),
        _waits.is_not(None),
    )
    .exists()
)
_UNCLAIMED_HOLDERS = (
    select(JobRow.id)
    .where(UNCLAIMED, JobRow.queue == bindparam("on_queue", type_=String()), JobRow.held > 0, _others_wait)
    .order_by(JobRow.dispatched_at)
    .limit(bindparam("most"))
)
_LOCK = (
    select(JobRow.id, JobRow.tenant, JobRow.limits, JobRow.tokens, JobRow.held, JobRow.is_outstanding)
    .where(JobRow.id == JOB_ID, UNCLAIMED, JobRow.held > 0, _others_wait)
    .with_for_update(key_share=True, of=JobRow)
)
_TAKE_BACK = (
    update(JobRow)
    .where(JobRow.id == JOB_ID, JobRow.status == JobStatus.QUEUED)
    .values(
        status=JobStatus.BLOCKED,
        blocked_by=BlockedBy.LIMIT,
        blocked_on=item_of(JobRow.limits, 0),
        held=0,
        is_outstanding=false(),
        rank_at=now(),
        dispatched_at=now(),
        dispatches=JobRow.dispatches + 1,  # so that it is left in its queue for longer the next time
    )
)


def unclaimed_holders(connection: Connection, queue: str, grace: float, most: int) -> list[uuid.UUID]:
    """Return up to *most* UNCLAIMED jobs of a queue that hold a slot which others wait for, oldest first."""
    return list(connection.scalars(_UNCLAIMED_HOLDERS, {"on_queue": queue, "grace": grace, "most": most}))


def take_back(tx: Transaction, job_id: uuid.UUID, grace: float) -> AnyRow | None:
    """Queued to blocked, without its slots, for one of the ``unclaimed_holders``; None where it has moved since.

    Its tenant pays for the slots with a turn, so that the next ones go to another tenant that waits. Returns its
    ``limits``.
    """
    taken = tx.connection.execute(_LOCK, {"job_id": job_id, "grace": grace}).one_or_none()
    if taken is not None:
        tx.connection.execute(_TAKE_BACK, {"job_id": job_id})
        for limit in taken.limits:  # in their order; a queued job holds a slot of each
            free_slots(tx, limit, [taken])
        await_slot(tx, taken.limits[0], taken.tenant)
        charge_turn(tx, taken.limits[0], taken.tenant)
    return taken
