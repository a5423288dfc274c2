"""Conditions that all filters share: equal values, and an age; a value that no ledger can have is refused."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

from sqlalchemy import Select

from agentq.exceptions import InvalidArguments
from agentq.ledger.db.types import seconds_from_now
from agentq.redaction import show

Query = TypeVar("Query", bound=Select[*tuple[Any, ...]])

_LONGEST = 1e9
"""Seconds, over 30 years; far more is beyond the calendar of a database."""


def narrowed(query: Query, pairs: Iterable[tuple[Any, Any]], made: Any, older_than: float | None) -> Query:
    """Narrow a query down to the rows whose columns have these values, None for any, and that are so old.

    *made* is the column of the age, *older_than* in seconds. Raises InvalidArguments.
    """
    for column, value in pairs:
        if value is not None:
            query = query.where(column == storable(value))
    if older_than is not None:
        query = query.where(made < seconds_from_now(-bounded(older_than)))
    return query


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
