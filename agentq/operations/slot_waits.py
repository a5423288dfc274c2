"""The limits and caps that jobs wait for, in words: what of them holds a job back, and its place in the line."""

from __future__ import annotations

import math
from datetime import datetime

from agentq.ledger.db.types import AnyRow
from agentq.ledger.queries.limits import MOST, Lines, cools_for
from agentq.ledger.queries.postponed import MOST as MOST_PLACES
from agentq.ledger.queries.postponed import Awaited
from agentq.states import WaitReason


def reason_of(lines: Lines, row: AnyRow) -> WaitReason:
    """Return what holds back a blocked job."""
    limit = lines.limits[row.blocked_on]
    if limit.slots == 0:
        return WaitReason.PAUSED
    if limit.cools:
        return WaitReason.COOLDOWN
    if limit.at_once is not None and limit.used >= limit.at_once:
        return WaitReason.SLOT
    tokens = _tokens_in(limit, row)
    if tokens is not None and tokens > limit.next_start_in:
        return WaitReason.TOKENS
    return WaitReason.SLOT if limit.start_gap is None else WaitReason.RATE


def limit_awaited(lines: Lines, row: AnyRow) -> str:
    """Return the condition of a blocked job."""
    limit, place = lines.limits[row.blocked_on], lines.places.get(row.id)
    where = f"{f'after the {_ordinal(MOST)}' if place is None else _ordinal(place)} of tenant {row.tenant}"
    if row.dispatches:
        where += f"; taken back from queue {row.queue!r}, which no worker consumed"
    match reason_of(lines, row):
        case WaitReason.PAUSED:
            until = f" until {_time(limit.override_until)}" if limit.override_until else ""
            return f"slots of {limit.name}, paused by {limit.actor}{until}: {' '.join(limit.reason.split())}"
        case WaitReason.COOLDOWN:
            left = _seconds(cools_for(limit) or 0.0)
            return f"cooldown of {limit.name}, {left} ({limit.cooldown_reason}), {where}"
        case WaitReason.TOKENS:
            return f"tokens of {limit.name}, {_seconds(_tokens_in(limit, row) or 0.0)}, {where}"
        case WaitReason.RATE:
            ahead = (MOST if place is None else place - 1) * limit.start_gap
            return f"rate of {limit.name}, {_seconds(limit.next_start_in + ahead)}, {where}"
    if limit.at_once is None:
        return f"its turn at {limit.name}, {where}"
    after = "" if limit.ramp is None else " after a cooldown"
    kept = (
        ""
        if not limit.kept
        else f", {limit.kept} kept for lost attempts, the first until {_time(limit.kept_until)}"
    )
    return f"slots of {limit.name}, {limit.used} of {limit.at_once}{after}{kept}, {where}"


def cap_awaited(cap: Awaited) -> str:
    """Return the condition of a job whose workflow is postponed."""
    counts = str(cap.counted) if cap.most is None else f"{cap.counted} of {cap.most}"
    place = f"after the {_ordinal(MOST_PLACES)}" if cap.place is None else _ordinal(cap.place)
    return f"backlog of {cap.of}: {counts} {'open' if cap.cap == 'max_open' else 'wait'}, {place}"


def _tokens_in(limit: AnyRow, row: AnyRow) -> float | None:
    """Return the seconds until a limit has the tokens for a job; None where it counts none."""
    if limit.token_gap is None:
        return None
    estimates = dict(zip(row.limits, row.tokens or (), strict=False))
    tokens = estimates.get(limit.name, 1)
    more = tokens - max(limit.tokens_at_once, tokens)
    return max(0.0, float(limit.tokens_lead + more * limit.token_gap))


def _seconds(seconds: float) -> str:
    """Write seconds as a whole number, which has passed when they have."""
    return f"{math.ceil(seconds):d} s"


def _time(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M:%S} UTC"


def _ordinal(number: int) -> str:
    is_teen = number % 100 in (11, 12, 13)
    return f"{number}{'th' if is_teen else {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th')}"
