"""Rules on cooldowns: a limit that was closed opens by degrees, beside the jobs that held it then."""

from __future__ import annotations

from sqlalchemy import String, cast, or_, select

from agentq.ledger.audit.invariants.common import BEGAN_AT, CLOCK, Found, invariant
from agentq.ledger.db.types import later
from agentq.ledger.models import LimitRow

_has_ramp = LimitRow.ramp.is_not(None)


@invariant("limit")
def over_its_ramp() -> Found:
    """more jobs hold a limit than may run at once after its cooldown"""
    return select(LimitRow.name, cast(LimitRow.used, String())).where(
        _has_ramp, LimitRow.used > LimitRow.ramp + LimitRow.carried
    )


@invariant("limit")
def carried_miscounted() -> Found:
    """a limit counts more jobs that held it when it began to cool than hold it now"""
    return select(LimitRow.name, cast(LimitRow.carried, String())).where(
        _has_ramp, or_(LimitRow.carried < 0, LimitRow.carried > LimitRow.used)
    )


@invariant("limit")
def cools_without_ramp() -> Found:
    """a limit cools, or was refused before, and would open at once"""
    cools = LimitRow.cooldown_until > later(BEGAN_AT, CLOCK)
    return select(LimitRow.name, cast(LimitRow.strikes, String())).where(
        ~_has_ramp, or_(LimitRow.strikes > 0, cools)
    )


INVARIANTS = (over_its_ramp, carried_miscounted, cools_without_ramp)
