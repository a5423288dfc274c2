"""The times at which limits with a rate, tokens or a cooldown open, and the caretaker that admits jobs then."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from sqlalchemy import (
    Connection,
    Float,
    Uuid,
    and_,
    bindparam,
    func,
    literal_column,
    null,
    or_,
    select,
    text,
    update,
)

from agentq.ledger.db.types import clock, now, seconds_from_now, seconds_of
from agentq.ledger.models import LimitRow
from agentq.ledger.moves.limits import LIMIT, first_in_line, tokens_by_limit
from agentq.ledger.moves.meters import RATE, SLOTS, SOON, TOKENS, TOKENS_LEFT
from agentq.ledger.transaction import Transaction

GRACE = 1.0
"""Seconds that a caretaker may be late before another one takes its place."""

PACER = bindparam("pacer", type_=Uuid())
IS_PACED_SOON = and_(
    LimitRow.paced_until > now(),
    LimitRow.paced_until <= seconds_from_now(literal_column(str(GRACE + SOON), Float())),
)
"""A limit whose pacer looks at it next within the time in which a job may be admitted before its start."""
_is_timed = or_(RATE.limit.is_not(None), TOKENS.limit.is_not(None), LimitRow.cooldown_until > now())
_is_free = or_(LimitRow.paced_until.is_(None), LimitRow.paced_until < now())
# Written as the index of these rows has it: SQLite takes that for no other text.
UNPACED = and_(text("agentq_limits.is_awaited"), _is_timed, _is_free)
"""A limit whose jobs wait for a time, and that no caretaker admits then."""
_UNPACED = select(LimitRow.name).where(UNPACED).order_by(LimitRow.name).limit(bindparam("most"))
MAY_PACE = and_(LimitRow.is_awaited, _is_timed, or_(LimitRow.paced_by == PACER, _is_free))
"""A limit that a caretaker may pace: no other one does."""
_TAKE_PACE = update(LimitRow).where(LimitRow.name == LIMIT, MAY_PACE).values(paced_by=PACER)
_KEEP_PACE = (
    update(LimitRow)
    .where(LimitRow.name == LIMIT, LimitRow.paced_by == PACER)
    .values(paced_until=seconds_from_now(bindparam("seconds", type_=Float())))
)
_LEAVE_PACE = (
    update(LimitRow)
    .where(LimitRow.name == LIMIT, LimitRow.paced_by == PACER)
    .values(paced_by=null(), paced_until=null())
)
_OPENING = select(
    LimitRow.is_awaited,
    (SLOTS - LimitRow.used).label("free"),
    func.coalesce(seconds_of(LimitRow.cooldown_until) - clock(), 0.0).label("cooldown"),
    # After those that are admitted and have yet to start.
    func.coalesce(RATE.lead + (LimitRow.outstanding + 1 - RATE.burst) * RATE.gap, 0.0).label("rate"),
    *TOKENS_LEFT,
).where(LimitRow.name == LIMIT)


@dataclass(frozen=True, slots=True)
class Opening:
    """The time at which the first job in a line can start, after those that were admitted: seconds by meter."""

    free: int | None
    """The slots that are free, which a time does not bring; None for any number."""
    cooldown: float
    rate: float
    tokens: float
    is_awaited: bool

    @property
    def seconds(self) -> float:
        """The seconds until none of its times holds the job back."""
        return max(0.0, self.cooldown, self.rate, self.tokens)

    @property
    def admitted_in(self) -> float:
        """The seconds until the job may be admitted, which is a little before it can start."""
        return max(0.0, self.cooldown, self.rate - SOON, self.tokens - SOON)


def opening(connection: Connection, limit: str) -> Opening | None:
    """Return when the first job in the line of *limit* can start; None where there is no such limit."""
    row = connection.execute(_OPENING, {"limit": limit}).one_or_none()
    if row is None:
        return None
    tokens = 0.0
    if row.tokens_gap:
        first = first_in_line(connection, limit)
        needed = 0 if first is None else tokens_by_limit(first)[limit]
        tokens = row.tokens_owed + (needed - max(row.tokens_burst, needed)) * row.tokens_gap
    return Opening(row.free, row.cooldown, row.rate, tokens, row.is_awaited)


def unpaced(connection: Connection, most: int) -> list[str]:
    """Return up to *most* limits that UNPACED picks."""
    return list(connection.scalars(_UNPACED, {"most": most}))


def take_pace(tx: Transaction, limit: str, pacer: uuid.UUID) -> bool:
    """Let the caretaker *pacer* admit the jobs of a limit, and lock it; False where another does, or none wait."""
    return tx.connection.execute(_TAKE_PACE, {"limit": limit, "pacer": pacer}).rowcount == 1


def keep_pace(tx: Transaction, limit: str, pacer: uuid.UUID, pause: float = 0.0) -> float | None:
    """Return the seconds until the next job may be admitted, at least *pause*, and keep the limit for that time.

    None where no job waits any more: the limit is left to others then.
    """
    found = opening(tx.connection, limit)
    values = {"limit": limit, "pacer": pacer}
    if found is None or not found.is_awaited:
        tx.connection.execute(_LEAVE_PACE, values)
        return None
    seconds = max(pause, found.admitted_in)
    tx.connection.execute(_KEEP_PACE, values | {"seconds": seconds + GRACE})
    return seconds
