"""``sleep(days=3)``: a part of a canvas that is done after a time, and passes on what it is given."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from celery import Signature

from agentq.exceptions import CanvasError
from agentq.redaction import show

NAME = "agentq.sleep"
_LONGEST = timedelta(days=3650)


def sleep(
    *,
    days: float = 0,
    hours: float = 0,
    minutes: float = 0,
    seconds: float = 0,
    until: datetime | None = None,
) -> Signature:
    """Return a signature that is done after a time, with the result of the step before it.

    The time is kept in the ledger, and counted by its clock: no worker is held, and a restart changes nothing. It
    composes with ``|`` as any signature does, also as the first or the last one::

        order.s(42) | sleep(days=3) | ask_how_it_was.s()

    Args:
        days, hours, minutes, seconds: how long, from the end of what is before it; they add up.
        until: the time at which it is done, with a time zone, in place of these. One that has passed is done at
            once.

    Raises CanvasError for no time, for one below zero or over ten years, and for *until* without a time zone.
    """
    try:
        time = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    except (TypeError, ValueError, OverflowError):
        given = {"days": days, "hours": hours, "minutes": minutes, "seconds": seconds}
        raise CanvasError(f"sleep({show(given)}): give numbers, such as sleep(days=3)") from None
    if until is not None:
        if time:
            raise CanvasError(f"sleep(until={show(until)}) with {show(time)} too: give one of them")
        if not isinstance(until, datetime) or until.tzinfo is None:
            raise CanvasError(f"sleep(until={show(until)}): give a datetime with a time zone")
        return Signature(NAME, kwargs={"until": until.astimezone(UTC).isoformat()})
    if not timedelta(0) < time <= _LONGEST:
        raise CanvasError(f"sleep() of {time}: must be over 0 seconds, and {_LONGEST.days} days at most")
    return Signature(NAME, kwargs={"seconds": time.total_seconds()})
