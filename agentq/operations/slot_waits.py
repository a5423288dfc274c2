"""The slots that jobs wait for, in words: of which limit, how many it has, and the place of a job in its line."""

from __future__ import annotations

from agentq.ledger.db.types import AnyRow
from agentq.ledger.queries.limits import MOST, Lines


def slots_awaited(lines: Lines, row: AnyRow) -> str:
    """Return the condition of a blocked job."""
    limit = lines.limits[row.blocked_on]
    if is_paused(lines, row):
        until = f" until {limit.override_until:%Y-%m-%d %H:%M:%S} UTC" if limit.override_until else ""
        return f"slots of {limit.name}, paused by {limit.actor}{until}: {' '.join(limit.reason.split())}"
    place = lines.places.get(row.id)
    where = f"after the {_ordinal(MOST)}" if place is None else _ordinal(place)
    taken_back = f"; taken back from queue {row.queue!r}, which no worker consumed" if row.dispatches else ""
    return f"slots of {limit.name}, {limit.used} of {limit.slots}, {where} of tenant {row.tenant}{taken_back}"


def is_paused(lines: Lines, row: AnyRow) -> bool:
    """Say whether an operator has paused the limit of a blocked job; code declares at least one slot."""
    return not lines.limits[row.blocked_on].slots


def _ordinal(number: int) -> str:
    is_teen = number % 100 in (11, 12, 13)
    return f"{number}{'th' if is_teen else {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th')}"
