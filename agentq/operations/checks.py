"""Values that a person gives for a filter: an age that a row can have, text that a ledger can keep."""

from __future__ import annotations

from typing import Any

from agentq.exceptions import InvalidArguments
from agentq.redaction import show

_LONGEST = 1e9
"""Seconds, over 30 years; far more is beyond the calendar of a database."""


def bounded(older_than: float) -> float:
    """Return an age; raises InvalidArguments for one that no row can have."""
    if not 0 <= older_than < _LONGEST:
        raise InvalidArguments(f"older_than is {older_than!r}; it must be seconds, from 0 to {_LONGEST:.0f}")
    return older_than


def storable(value: Any) -> Any:
    """Return a value to compare with; raises InvalidArguments for text that no ledger can have."""
    if isinstance(value, str) and ("\0" in value or not _is_utf8(value)):
        raise InvalidArguments(
            f"{show(value)} has characters that no ledger keeps: NUL, or half of a surrogate pair"
        )
    return value


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
