"""Bad input: each refusal says what is wrong, with which value, and what to do next."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from agentq.exceptions import StepDefinitionError
from agentq.policies import (
    DEFAULT,
    Exponential,
    Fixed,
    Ladder,
    Policy,
    Rule,
    dump_policy,
    load_policy,
    policy_of,
    preset,
    rule,
)

wrong: Any = {}
nothing: Any = None
REFUSED: dict[str, tuple[Callable[[], object], str]] = {
    "no bound on attempts": (
        lambda: Policy(attempts=nothing),
        "attempts of a policy is None: every policy has a bound",
    ),
    "no bound in time": (lambda: Policy(total=math.inf), "total of a policy is inf: every policy has a bound"),
    "no bound on a deferral": (
        lambda: Policy(longest_deferral=math.nan),
        "longest_deferral of a policy is nan: every policy has",
    ),
    "no attempts": (
        lambda: Policy(attempts=0),
        "attempts of a policy is 0, must be a whole number from 1 to 1001",
    ),
    "text as a bound": (lambda: Policy(total="1h"), "total of a policy is '1h', must be a number"),  # type: ignore[arg-type]
    "negative bound": (lambda: Policy(total=-1), "total of a policy is -1, must be 0 to"),
    "negative delay": (lambda: Fixed(-1), "the seconds of a fixed schedule is -1, must be 0 to"),
    "negative pause of a ladder": (lambda: Ladder((1, -2)), "a pause of a ladder is -2, must be 0 to"),
    "no rungs": (lambda: Ladder(()), "the pauses of a ladder are (), must be at least one number"),
    "shrinking": (
        lambda: Exponential(factor=0.5),
        "the factor of an exponential schedule is 0.5, must be 1 to 100",
    ),
    "endless delay": (
        lambda: Exponential(longest=math.inf),
        "the longest pause of an exponential schedule is inf",
    ),
    "unknown action": (lambda: rule("retyr", status=500), "unknown action 'retyr'. Did you mean 'retry'? Known: "),
    "unknown category": (
        lambda: rule("fail", category="ratelimit"),
        "unknown category 'ratelimit'. Did you mean 'rate_limit'? Known: ",
    ),
    "unknown preset": (
        lambda: preset("pateint"),
        "unknown retry preset 'pateint'. Did you mean 'patient'? Known: ",
    ),
    "unknown preset of a step": (lambda: policy_of("defaul"), "Did you mean 'default'?"),
    "no policy at all": (
        lambda: policy_of(wrong),
        "retry is {}, must be a policy, rules made with rule(…), or one of:",
    ),
    "no rules": (lambda: policy_of([]), "retry is [], must be a policy"),
    "retries": (lambda: policy_of(retries=-1), "retries is -1, must be a whole number from 0 to 1000"),
    "no exception": (lambda: rule("fail", error=int), "error=int of a rule is no exception class"),  # type: ignore[arg-type]
    "no class name": (lambda: rule("fail", error="rate limit"), "error='rate limit' of a rule is no class name"),
    "no status": (
        lambda: rule("fail", status=42),
        "status=42 of a rule can never match: HTTP statuses are 100 to 599",
    ),
    "no statuses": (
        lambda: rule("fail", status=range(0)),
        "status=range(0, 0) of a rule must be a number, a range",
    ),
    "no text of a status": (lambda: rule("fail", status="5*"), "status='5*' of a rule must be a number, a range"),
    "empty code": (lambda: rule("fail", code=" "), "code=' ' of a rule can never match: give a word"),
    "no list": (lambda: rule("fail", code=1.5), "a condition of a rule is 1.5, must be one value or a list"),  # type: ignore[arg-type]
    "empty match": (
        lambda: Policy(rules=(rule("fail", category=[]),)),
        "the rule 'fail on everything' has no condition, so no rule after it could match",
    ),
    "shadowed class": (
        lambda: Policy(rules=(rule("fail", error=OSError), rule("retry", error=TimeoutError))),
        "the rule 'retry on error TimeoutError' can never match: the earlier rule 'fail on error OSError' takes",
    ),
    "shadowed name": (
        lambda: DEFAULT.with_rules(rule("ask", error="Busy"), rule("dead_letter", error="app.Busy", status=500)),
        "the rule 'dead_letter on error app.Busy; status 500' can never match",
    ),
    "shadowed status": (
        lambda: Policy(rules=(rule("fail", status="5xx"), rule("retry", status=[503, 529]))),
        "Put the narrower rule first, or drop one",
    ),
    "shadowed category": (
        lambda: Policy(
            rules=(rule("fail", category=["timeout", "overloaded"]), rule("defer", category="timeout"))
        ),
        "the rule 'defer on category timeout' can never match",
    ),
    "schedule of nothing": (
        lambda: rule("fail", status=500, schedule=Fixed(3)),
        "the rule 'fail on status 500' never tries again, so its schedule and limit mean nothing",
    ),
    "limit of none": (
        lambda: rule("retry", status=500, limit=0),
        "the limit of a rule is 0, must be a whole number",
    ),
    "no schedule": (lambda: rule("retry", status=500, schedule=5), "must be Exponential, Ladder or Fixed"),  # type: ignore[arg-type]
    "no predicate": (lambda: rule("fail", when="x"), "when= of a rule is 'x', must be a function"),  # type: ignore[arg-type]
    "retry what is too long": (
        lambda: rule("defer", has_retry_after=True, too_long="retry"),
        "must be fail, dead_letter or ask",
    ),
    "no rule": (lambda: Policy(rules=("fail",)), "a policy was given 'fail' as a rule: make rules with rule(…)"),  # type: ignore[arg-type]
    "conditions at the end": (
        lambda: Policy(otherwise=rule("fail", status=500)),
        "otherwise= of a policy is 'fail on status 500', must be a rule without conditions",
    ),
    "predicate to keep": (
        lambda: dump_policy(DEFAULT.with_rules(rule("ask", when=bool))),
        "the rule 'ask on when bool' has a predicate, which cannot be kept in the ledger",
    ),
    "unknown entry": (
        lambda: load_policy({"attemps": 3}),
        "unknown entry of a policy 'attemps'. Did you mean 'attempts'?",
    ),
    "unknown schedule": (
        lambda: load_policy({"rules": [{"action": "retry", "status": [[500, 500]], "schedule": {"kind": "fix"}}]}),
        "unknown kind of schedule 'fix'. Did you mean 'fixed'?",
    ),
    "no action": (lambda: load_policy({"rules": [{"status": [[500, 500]]}]}), "has no action"),
    "no mapping": (lambda: load_policy([]), "a kept policy is [], must be a mapping"),  # type: ignore[arg-type]
    "no pair": (
        lambda: load_policy({"rules": [{"action": "fail", "status": [500]}]}),
        "the status 500 of a kept rule must be a pair of numbers",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_bad_input_is_refused(name: str) -> None:
    make, says = REFUSED[name]
    with pytest.raises(StepDefinitionError) as refused:
        make()
    assert says in str(refused.value)


def test_a_narrower_rule_may_come_first() -> None:
    narrow, broad = rule("retry", error=TimeoutError), rule("fail", error=OSError)
    assert Policy(rules=(narrow, broad)).rules == (narrow, broad)


def test_rules_with_an_unknowable_overlap_are_accepted() -> None:
    kept: tuple[Rule, ...] = (
        rule("ask", error=TimeoutError, when=lambda facts: "x" in facts.message),
        rule("fail", error=TimeoutError, has_retry_after=False),
        rule("retry", error=TimeoutError),
        rule("fail", category="timeout"),
    )
    assert Policy(rules=kept).rules == kept
