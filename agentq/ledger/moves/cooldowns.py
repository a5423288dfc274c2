"""The moves of a cooldown: a provider refused a call, so the limits of its job are closed for all their jobs.

A first refusal closes a limit for as long as the provider says, or for a second; each further one twice as long
as the one before, up to a minute. Attempts that began before the end of a cooldown belong to it: their refusals
are no further ones, and only put its end off.
"""

from __future__ import annotations

import uuid
from datetime import datetime

from sqlalchemy import Float, Integer, Text, bindparam, case, cast, false, literal_column, or_, update

from agentq.ledger.db.types import AnyRow, UtcDateTime, seconds_from_now
from agentq.ledger.models import JobRow, LimitRow
from agentq.ledger.moves.limits import LIMIT
from agentq.ledger.moves.ramp import given_back
from agentq.ledger.moves.ready import in_line_of
from agentq.ledger.moves.shared import DISPATCH, FAILURE, MINE, failure_values
from agentq.ledger.transaction import Transaction
from agentq.outcomes import RetryLater

LONGEST = 60.0
"""Seconds of a cooldown at most where the provider does not say."""
LONGEST_SAID = 3_600.0
"""Seconds of a cooldown at most where it does: after that one job asks it again."""
_DOUBLINGS = 6
"""Cooldowns one after the other, the next of which would be longer than LONGEST."""

_began_at = bindparam("began_at", type_=UtcDateTime())
# Cast: PostgreSQL cannot know what kind of nothing a NULL is.
_said, _why = cast(bindparam("seconds", type_=Float()), Float()), bindparam("why", type_=Text())
_freed = bindparam("freed", type_=Integer())
_one = literal_column("1", Integer())

_is_further = or_(LimitRow.cooldown_until.is_(None), LimitRow.cooldown_until <= _began_at)
_before = LimitRow.strikes - case((_is_further, 0), else_=1)
_doubled = case((_before >= _DOUBLINGS, LONGEST), (_before > 0, _one.op("<<")(_before)), else_=1.0)
_seconds = case((or_(_said.is_(None), (_before > 0) & (_said < _doubled)), _doubled), else_=_said)
_until = seconds_from_now(_seconds)
_is_later = LimitRow.cooldown_until > _until
_AFTER_COOLDOWN = {"ramp": 1, "carried": LimitRow.used - _freed}
_COOL = (
    update(LimitRow)
    .where(LimitRow.name == LIMIT)
    .values(
        used=LimitRow.used - _freed,
        cooldown_until=case((_is_later, LimitRow.cooldown_until), else_=_until),
        cooldown_reason=case((_is_later, LimitRow.cooldown_reason), else_=_why),
        strikes=LimitRow.strikes + case((_is_further, 1), else_=0),
        **_AFTER_COOLDOWN,
    )
)
_SET = (
    update(LimitRow)
    .where(LimitRow.name == LIMIT)
    .values(
        cooldown_until=bindparam("until", type_=UtcDateTime()), cooldown_reason=_why, ramp=1, carried=LimitRow.used
    )
)
_FREE = (
    update(LimitRow)
    .where(LimitRow.name == LIMIT)
    .values(given_back(_began_at, false()))
    .returning(LimitRow.is_awaited)
)
_WAIT_IN_LINE = (
    update(JobRow)
    .where(MINE)
    .values(
        **in_line_of(bindparam("cools", type_=Text())),
        due_reason=bindparam("due_why"),
        # As a deferral: it keeps its number, which is the fencing token, but not its cost.
        max_attempts=JobRow.max_attempts + 1,
        uncounted=JobRow.uncounted + 1,
        deferrals=JobRow.deferrals + 1,
        deferred=JobRow.deferred + bindparam("deferred_for", type_=Float()),
        **FAILURE,
    )
    .returning(*DISPATCH)
)


def wait_in_line(tx: Transaction, job_id: uuid.UUID, attempt: int, later: RetryLater) -> AnyRow | None:
    """Running to blocked, in the line of a limit that cools; the columns of DISPATCH, or None where it is lost.

    It holds no slot any more: ``cool`` and ``free`` give back those that it held.
    """
    values = {"job_id": job_id, "held_attempt": attempt, "cools": later.in_line_of, "deferred_for": later.delay}
    values |= {"due_why": later.reason or None, **failure_values(later.failure)}
    return tx.connection.execute(_WAIT_IN_LINE, values).one_or_none()


def cool(
    tx: Transaction, limit: str, began_at: datetime, seconds: float | None, reason: str, *, leaves: bool
) -> None:
    """Close a limit for *seconds*, or as its last cooldowns say; *leaves* where its job gives back its slot too.

    *began_at* is when the attempt began whose call was refused.
    """
    said = None if seconds is None else min(max(0.0, seconds), LONGEST_SAID)
    values = {"limit": limit, "began_at": began_at, "seconds": said, "why": reason, "freed": int(leaves)}
    tx.connection.execute(_COOL, values)


def free(tx: Transaction, limit: str, began_at: datetime) -> bool:
    """Give back the slot of a job that waits for another limit; says whether jobs may wait for it."""
    return bool(tx.connection.scalar(_FREE, {"limit": limit, "began_at": began_at}))


def set_cooldown(tx: Transaction, limit: str, until: datetime, reason: str) -> None:
    """Close a limit until a time, whatever cooldown it has; it is no refusal."""
    tx.connection.execute(_SET, {"limit": limit, "until": until, "why": reason})
