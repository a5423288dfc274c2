"""Properties that hold for any policy and any error: bounds, the provider's time, and the way to the ledger."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from agentq.policies import (
    DEFAULT,
    PRESETS,
    Category,
    Decision,
    ErrorFacts,
    History,
    OnError,
    Policy,
    decide,
    dump_policy,
    load_policy,
)
from tests.policies.strategies import errors, luck, pauses, policies

Errors = Callable[[], ErrorFacts]
histories = st.builds(
    History,
    attempt=st.integers(1, 30),
    deferrals=st.integers(0, 30),
    paused=pauses,
    deferred=pauses,
    left=st.none() | pauses,
)


def lived(policy: Policy, error: Errors, chance: Callable[[], float]) -> tuple[History, list[Decision]]:
    """Let a job fail until the policy ends it; return what it had, and all decisions."""
    history, decisions = History(), [Decision(OnError.RETRY, "")]
    while not decisions[-1].is_final:
        decision = decide(policy, error(), history, random=chance)
        decisions.append(decision)
        if decision.action is OnError.RETRY:
            history = replace(history, attempt=history.attempt + 1, paused=history.paused + decision.delay)
        elif decision.action is OnError.DEFER:
            history = replace(history, deferrals=history.deferrals + 1, deferred=history.deferred + decision.delay)
        assert len(decisions) < 10_000, "it goes on for ever"
    return history, decisions[1:]


@given(policies(), st.lists(errors, min_size=1, max_size=5), st.data())
def test_no_policy_exceeds_its_bounds(policy: Policy, kinds: list[ErrorFacts], data: st.DataObject) -> None:
    chances = data.draw(st.lists(luck, min_size=1, max_size=5))
    turn = iter(range(10_000))
    history, decisions = lived(
        policy, lambda: kinds[next(turn) % len(kinds)], lambda: chances[next(turn) % len(chances)]
    )

    slack = 1e-6 * (1 + policy.total + policy.total_deferral)
    assert history.attempt <= policy.attempts
    assert history.deferrals <= policy.deferrals
    assert history.paused <= policy.total + slack
    assert history.deferred <= policy.total_deferral + slack
    assert all(decision.delay >= 0 for decision in decisions)
    assert all(d.delay <= policy.longest_deferral for d in decisions if d.action is OnError.DEFER)


@given(policies(), errors, histories, luck)
def test_any_error_gets_a_decision(policy: Policy, error: ErrorFacts, history: History, chance: float) -> None:
    decision = decide(policy, error, history, random=lambda: chance)
    assert decision.reason
    assert decision.delay == 0 or not decision.is_final


@given(policies(), errors, histories, luck)
def test_jitter_never_shortens_what_the_provider_asks_for(
    policy: Policy, error: ErrorFacts, history: History, chance: float
) -> None:
    decision = decide(policy, error, history, random=lambda: chance)
    if not decision.is_final and error.retry_after is not None:
        assert decision.delay >= error.retry_after


@given(policies(), errors, histories, luck)
def test_nothing_is_planned_for_after_the_deadline(
    policy: Policy, error: ErrorFacts, history: History, chance: float
) -> None:
    decision = decide(policy, error, history, random=lambda: chance)
    if not decision.is_final and history.left is not None:
        assert decision.delay < history.left


@given(policies(), errors, histories, luck)
def test_the_same_luck_gives_the_same_decision(
    policy: Policy, error: ErrorFacts, history: History, chance: float
) -> None:
    decisions = [decide(policy, error, history, random=lambda: chance) for _ in range(2)]
    assert decisions[0] == decisions[1]


@given(policies(), errors, histories, luck)
def test_a_policy_comes_back_from_the_ledger_as_it_was(
    policy: Policy, error: ErrorFacts, history: History, chance: float
) -> None:
    kept = load_policy(json.loads(json.dumps(dump_policy(policy), allow_nan=False)))
    assert kept == policy
    assert decide(kept, error, history, random=lambda: chance) == decide(
        policy, error, history, random=lambda: chance
    )


@given(st.integers(0, 1000), st.sampled_from(sorted(PRESETS)), errors)
def test_retries_are_never_exceeded(retries: int, name: str, error: ErrorFacts) -> None:
    policy = PRESETS[name].with_retries(retries)
    history, _ = lived(policy, lambda: error, lambda: 0.0)
    assert history.attempt <= retries + 1


def test_jobs_with_the_same_retry_after_do_not_come_back_at_once() -> None:
    error = ErrorFacts(Category.OVERLOADED, retry_after=60.0)
    delays = sorted(decide(DEFAULT, error).delay for _ in range(1000))
    in_one_second = max(sum(1 for other in delays if 0 <= other - delay < 1) for delay in delays)
    assert delays[0] >= 60
    assert in_one_second < 100, "1,000 jobs are spread over half of the Retry-After"
