"""Any policy and any error, for the property tests."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from agentq.exceptions import StepDefinitionError
from agentq.policies import Category, ErrorFacts, Exponential, Fixed, Ladder, OnError, Policy, Rule, Schedule, rule

NAMES = ("ValueError", "TimeoutError", "openai.RateLimitError", "app.errors.Busy", "Exception")
CODES = ("busy", "insufficient_quota", "rate_limit_exceeded")

pauses = st.floats(0, 100_000) | st.sampled_from([0.0, 1.0, 30.0])
luck = st.floats(0, 1)

schedules: st.SearchStrategy[Schedule] = (
    st.builds(Exponential, pauses, st.floats(1, 10), pauses, st.integers(0, 5))
    | st.builds(Ladder, st.lists(pauses, min_size=1, max_size=5).map(tuple), st.floats(0, 3))
    | st.builds(Fixed, pauses, st.floats(0, 3))
)

errors = st.builds(
    ErrorFacts,
    category=st.sampled_from(Category),
    names=st.lists(st.sampled_from(NAMES), max_size=3).map(tuple),
    status=st.none() | st.sampled_from([200, 400, 429, 500, 503]),
    codes=st.lists(st.sampled_from(CODES), max_size=2).map(tuple),
    retry_after=st.none() | pauses,
)


@st.composite
def rules(draw: st.DrawFn) -> Rule:
    """A rule with at least one condition."""
    conditions: dict[str, Any] = draw(
        st.fixed_dictionaries(
            {},
            optional={
                "error": st.lists(st.sampled_from(NAMES), min_size=1, max_size=2),
                "status": st.lists(st.sampled_from([429, "5xx", range(400, 500)]), min_size=1, max_size=2),
                "code": st.lists(st.sampled_from(CODES), min_size=1, max_size=2),
                "category": st.lists(st.sampled_from(Category), min_size=1, max_size=4),
                "has_retry_after": st.booleans(),
            },
        ).filter(bool)
    )
    action = draw(st.sampled_from(OnError))
    more: dict[str, Any] = {"too_long": draw(st.sampled_from([OnError.FAIL, OnError.DEAD_LETTER, OnError.ASK]))}
    if not action.is_final:
        more |= {"schedule": draw(st.none() | schedules), "limit": draw(st.none() | st.integers(1, 20))}
    return rule(action, **conditions, **more)


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    """A policy whose rules can all match."""
    kept: list[Rule] = []
    for one in draw(st.lists(rules(), max_size=5)):
        try:
            Policy(rules=(*kept, one))
        except StepDefinitionError:
            continue
        kept.append(one)
    return Policy(
        rules=tuple(kept),
        otherwise=rule(draw(st.sampled_from(["retry", "defer", "fail"]))),
        attempts=draw(st.integers(1, 20)),
        total=draw(pauses),
        deferrals=draw(st.integers(0, 20)),
        longest_deferral=draw(pauses),
        total_deferral=draw(pauses),
        spread=draw(st.floats(0, 3)),
        defers_in_line_only=draw(st.booleans()),
    )
