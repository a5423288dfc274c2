"""The ramp of a limit after a cooldown: it opens by degrees.

Beside the ``carried`` jobs, which held the limit when the cooldown began and hold it still, one job is admitted,
and twice as many after each success, until that is as many as there are slots. An attempt that began before the
end of the cooldown proves nothing of the provider now, so its success opens nothing.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Integer, and_, case, false, func, literal_column, null

from agentq.ledger.db.types import greatest, least
from agentq.ledger.models import LimitRow
from agentq.ledger.moves.meters import SLOTS

_FULL = 1_000
"""Jobs at once with which the ramp of a limit without slots ends."""
# Written, not bound: PostgreSQL plans a prepared statement without its values.
_NONE, _ONE, _TWO, _MOST = (literal_column(str(number), Integer()) for number in (0, 1, 2, _FULL))


def given_back(began_at: Any, succeeded: ColumnElement[bool], jobs: Any = _ONE) -> dict[str, Any]:
    """Return the values of a limit to which *jobs* give back their slots.

    *began_at* is when an attempt of theirs began, the last one of several; NULL for none. It *succeeded* or not.
    """
    is_new = func.coalesce(began_at >= LimitRow.cooldown_until, false())
    doubles = and_(LimitRow.ramp.is_not(None), is_new, succeeded)
    is_over = and_(doubles, _TWO * LimitRow.ramp + LimitRow.carried >= func.coalesce(SLOTS, _MOST))
    return {
        "used": LimitRow.used - jobs,
        "ramp": case((is_over, null()), (doubles, _TWO * LimitRow.ramp), else_=LimitRow.ramp),
        # One that was queued when it began to cool may have begun later: never more than those that hold it.
        "carried": least(
            case((is_new, LimitRow.carried), else_=greatest(LimitRow.carried - jobs, _NONE)), LimitRow.used - jobs
        ),
        "strikes": case((is_over, _NONE), else_=LimitRow.strikes),
    }
