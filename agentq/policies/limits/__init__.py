"""Limits of a step's jobs: how many may run at once, and how many may start in a time, for each value of a key."""

from agentq.policies.limits.elements import (
    MOST_SLOTS,
    MOST_TOKENS,
    Concurrency,
    Cooldown,
    Element,
    Rate,
    Tokens,
)
from agentq.policies.limits.keys import Key, is_name, limit_of_queue
from agentq.policies.limits.meters import (
    JobLimit,
    Meters,
    PerTime,
    check_call_limits,
    check_limits,
    declared_by,
    keyed,
    limits_of_job,
    meters_of,
    need_argument,
    over_burst,
    require_not_strict,
)

__all__ = [
    "MOST_SLOTS",
    "MOST_TOKENS",
    "Concurrency",
    "Cooldown",
    "Element",
    "JobLimit",
    "Key",
    "Meters",
    "PerTime",
    "Rate",
    "Tokens",
    "check_call_limits",
    "check_limits",
    "declared_by",
    "is_name",
    "keyed",
    "limit_of_queue",
    "limits_of_job",
    "meters_of",
    "need_argument",
    "over_burst",
    "require_not_strict",
]
