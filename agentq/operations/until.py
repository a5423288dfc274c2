"""The end of what an operator does for a time."""

from __future__ import annotations

from datetime import UTC, datetime

from agentq.exceptions import InvalidArguments

Until = datetime | float | None
"""A time with its time zone, or seconds from now by the ledger's clock; None for no end."""
_LONGEST = 1e9
"""Seconds, over 30 years; far more is beyond the calendar of a database."""


def checked_until(until: Until) -> Until:
    """Return an end; raises InvalidArguments for a time without a time zone, and for seconds out of bounds."""
    if isinstance(until, datetime):
        if until.tzinfo is None:
            raise InvalidArguments(f"until is {until}; give it a time zone, such as {until.replace(tzinfo=UTC)}")
    elif until is not None and not 0 < until < _LONGEST:
        raise InvalidArguments(f"until is {until!r} seconds from now; it must be over 0, to {_LONGEST:.0f}")
    return until
