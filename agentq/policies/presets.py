"""Policies by name, and what ``@step(retry=…)`` may be given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from agentq.policies.checks import refusal, unknown
from agentq.policies.errors.categories import NEVER_RETRIED, Category
from agentq.policies.policy import Policy
from agentq.policies.rules import Rule, rule
from agentq.policies.schedules import Exponential, Ladder, Schedule
from agentq.redaction import show

C = Category


def _rules(slow: Schedule, back_off: Schedule, soon: Schedule) -> tuple[Rule, ...]:
    return (
        rule("fail", category=sorted(NEVER_RETRIED)),
        rule("defer", category=[C.RATE_LIMIT, C.OVERLOADED], has_retry_after=True),
        rule("retry", category=[C.RATE_LIMIT, C.OVERLOADED], schedule=slow),
        rule("retry", category=[C.TIMEOUT, C.CONNECTION, C.TIMED_OUT], schedule=back_off),
        rule("retry", category=[C.SERVER_ERROR, C.INVALID_RESPONSE], schedule=soon),
        rule("retry", category=C.WORKER_LOST, schedule=Exponential(at_once=1)),
    )


DEFAULT: Final = Policy(
    rules=_rules(Ladder(), Exponential(first=4.0, longest=120.0), Exponential(first=2.0, longest=30.0)),
    name="default",
)
"""Rate limits and overload as the provider says, or on a ladder; what may pass soon is tried soon."""

NONE: Final = Policy(otherwise=rule("fail"), attempts=1, deferrals=0, total=0.0, total_deferral=0.0, name="none")
"""Nothing is ever tried again, not even after a lost worker."""

QUICK: Final = Policy(
    rules=_rules(Ladder((1.0, 2.0, 5.0)), Exponential(longest=5.0), Exponential(first=0.5, longest=2.0)),
    otherwise=rule("retry", schedule=Exponential(longest=5.0)),
    attempts=3,
    total=60.0,
    deferrals=5,
    longest_deferral=30.0,
    total_deferral=60.0,
    name="quick",
)
"""For work with a person who waits: over, one way or the other, within a minute of pauses and one of deferrals."""

PATIENT: Final = Policy(
    rules=_rules(
        Ladder((10.0, 30.0, 120.0, 600.0, 1800.0, 3600.0)),
        Exponential(first=5.0, longest=1800.0),
        Exponential(first=5.0, longest=600.0),
    ),
    otherwise=rule("retry", schedule=Exponential(first=5.0, longest=1800.0)),
    attempts=15,
    total=24 * 3600.0,
    deferrals=200,
    longest_deferral=12 * 3600.0,
    total_deferral=48 * 3600.0,
    name="patient",
)
"""For background work: sits out the outage of a day, and limits that are reset by the hour."""

PRESETS: Final = {policy.name: policy for policy in (DEFAULT, NONE, QUICK, PATIENT)}


def preset(name: str) -> Policy:
    """Return the policy of this name; raises StepDefinitionError, with the nearest name, where there is none."""
    if name not in PRESETS:
        raise unknown("retry preset", name, PRESETS)
    return PRESETS[name]


def policy_of(
    retry: Policy | str | Rule | Sequence[Rule] | None = None,
    retries: int | None = None,
    *,
    base: Policy = DEFAULT,
) -> Policy:
    """Return the policy that ``@step(retry=…, retries=…)`` or a workflow's override means.

    Args:
        retry: a policy, a preset's name, or rules that go before those of *base*; None for *base*.
        retries: how often at most a job is tried again, in place of the policy's number.
        base: the policy that rules are added to.
    """
    policy = _policy_of(retry, base)
    return policy if retries is None else policy.with_retries(retries)


def _policy_of(retry: object, base: Policy) -> Policy:
    match retry:
        case None:
            return base
        case Policy():
            return retry
        case str():
            return preset(retry)
        case Rule():
            return base.with_rules(retry)
        case list() | tuple() if retry:
            return base.with_rules(*retry)
    raise refusal(
        f"retry is {show(retry)}, must be a policy, rules made with rule(…), or one of: {', '.join(PRESETS)}"
    )
