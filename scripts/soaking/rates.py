"""The starts of limits with a rate, replayed: has any window of time more than the rate then in force allows?"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

from sqlalchemy import Connection, func, select

from agentq.ledger.models import AttemptRow, JobRow, LimitChangeRow
from agentq.states import AttemptOutcome
from soaking.steps import BURST, PER, PROVIDER, STARTS, call

_LATE = 3.0
"""Seconds by which the commit of a change may follow the time that it has noted."""
_ROUNDING = 0.001


class Pace(NamedTuple):
    """A rate that was in force: seconds from one start to the next, and how many may come at once."""

    gap: float
    burst: int

    @classmethod
    def of(cls, limit: int, per: float) -> Pace:
        """Return the pace of so many starts in so many seconds."""
        burst = min(BURST, max(limit - 1, 1))
        return cls(per / max(limit - burst, 1), burst)

    @property
    def lead(self) -> float:
        """Seconds by which a start may come before an even pace."""
        return (self.burst - 1) * self.gap


class InForce(NamedTuple):
    """A pace, from when to when."""

    since: float
    until: float
    pace: Pace


@dataclass(frozen=True)
class Starts:
    """The starts of one limit."""

    count: int
    per: float
    most: int
    """In one window of ``per`` seconds."""
    refusals: int
    """Attempts that the provider refused."""
    too_early: list[str]
    """For each start that ends a window with too many: which window."""


def starts(connection: Connection) -> dict[str, Starts]:
    """Return the starts of all attempts, by limit with a rate."""
    attempts = (
        select(AttemptRow.started_at).join(JobRow, JobRow.id == AttemptRow.job_id).where(JobRow.step == call.name)
    )
    times = sorted(time.timestamp() for time in connection.scalars(attempts))
    refused = select(func.count()).where(AttemptRow.error_status == 429, AttemptRow.outcome != AttemptOutcome.LOST)
    found = Starts(
        count=len(times),
        per=PER,
        most=max((bisect_left(times, time + PER) - n for n, time in enumerate(times)), default=0),
        refusals=connection.scalar(refused) or 0,
        too_early=too_early(times, _in_force(connection)),
    )
    return {PROVIDER: found}


def too_early(times: Sequence[float], in_force: Sequence[InForce]) -> list[str]:
    """Return the windows of *times*, which are sorted, with more starts than the rates in force then allow.

    A window with n starts is at least n - 1 of the shortest gaps long that were in force in it, less the longest
    lead of a burst: T / gap + burst starts at most in T seconds, where the rate did not change.
    """
    at = [_paces(in_force, time, time) for time in times]
    between = [_paces(in_force, *pair) for pair in pairwise(times)]
    found = []
    for first, begin in enumerate(times):
        gap, lead = min(pace.gap for pace in at[first]), 0.0
        for last in range(first + 1, len(times)):
            gap = min(gap, *(pace.gap for pace in between[last - 1]))
            lead = max(pace.lead for pace in at[last])
            if times[last] - begin < (last - first) * gap - lead - _ROUNDING:
                found.append(f"{last - first + 1} starts in {times[last] - begin:.3f} s, from {begin:.3f}")
                break
    return found


def _paces(in_force: Sequence[InForce], since: float, until: float) -> list[Pace]:
    return [one.pace for one in in_force if one.since - _LATE <= until and since <= one.until + _LATE]


def _in_force(connection: Connection) -> list[InForce]:
    """Return the paces of the provider: those that were set, each until its end or the next, else the declared."""
    query = select(LimitChangeRow.created_at, LimitChangeRow.until, LimitChangeRow.rate_after).where(
        LimitChangeRow.name == PROVIDER, LimitChangeRow.cools_until.is_(None)
    )
    changes: list[Any] = list(connection.execute(query.order_by(LimitChangeRow.created_at)))
    declared, now = Pace.of(STARTS, PER), 0.0
    found = []
    for change, following in pairwise([*changes, None]):
        since, until = change.created_at.timestamp(), change.until.timestamp()
        if following is not None:
            until = min(until, following.created_at.timestamp())
        limit, per = change.rate_after.split("/")
        found += [InForce(now, since, declared), InForce(since, until, Pace.of(int(limit), float(per)))]
        now = until
    return [*found, InForce(now, float("inf"), declared)]
