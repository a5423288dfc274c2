"""The decisions of the default policy, the other presets and one's own rules."""

from __future__ import annotations

import pytest

from agentq.policies import (
    DEFAULT,
    NEVER_RETRIED,
    NONE,
    PATIENT,
    PRESETS,
    QUICK,
    Category,
    Decision,
    ErrorFacts,
    Exponential,
    Fixed,
    History,
    Ladder,
    OnError,
    Policy,
    decide,
    decide_asked,
    describe,
    policy_of,
    rule,
)
from agentq.policies.errors.categories import REFUSED_FOR_NOW

C = Category
FIRST = History()


def facts(category: Category, **more: object) -> ErrorFacts:
    return ErrorFacts(category, **more)  # type: ignore[arg-type]


def least(policy: Policy, error: ErrorFacts | BaseException, history: History = FIRST) -> Decision:
    return decide(policy, error, history, random=lambda: 0.0)


def most(policy: Policy, error: ErrorFacts | BaseException, history: History = FIRST) -> Decision:
    return decide(policy, error, history, random=lambda: 1.0)


@pytest.mark.parametrize("category", sorted(NEVER_RETRIED))
@pytest.mark.parametrize("retry_after", [None, 5.0])
def test_a_permanent_error_is_never_retried(category: Category, retry_after: float | None) -> None:
    decision = decide(DEFAULT, facts(category, retry_after=retry_after))
    assert (decision.action, decision.is_final, decision.exhausted) == (OnError.FAIL, True, False)
    assert decision.reason == f"{category}: never retried"


def test_every_category_has_an_answer_in_every_preset() -> None:
    for policy in PRESETS.values():
        for category in Category:
            assert isinstance(decide(policy, facts(category)).action, OnError)


def test_without_a_time_a_rate_limit_climbs_the_ladder_and_burns_attempts() -> None:
    pauses = [least(DEFAULT, facts(C.RATE_LIMIT), History(attempt=n)) for n in range(1, 6)]
    assert [decision.delay for decision in pauses[:4]] == [10, 30, 120, 600]
    assert all(decision.burns_attempt for decision in pauses)
    assert (pauses[4].action, pauses[4].exhausted) == (OnError.FAIL, True)
    assert pauses[4].reason == "rate_limit: used up 5 of 5 attempts"


@pytest.mark.parametrize("category", [C.RATE_LIMIT, C.OVERLOADED])
def test_with_the_provider_s_time_it_is_deferred_and_burns_none(category: Category) -> None:
    error = facts(category, retry_after=20.0)
    assert least(DEFAULT, error) == Decision(
        OnError.DEFER, f"{category}: deferred, as the provider asked (deferral 1 of 50)", 20
    )
    assert most(DEFAULT, error).delay == 30
    assert not least(DEFAULT, error).burns_attempt
    assert least(DEFAULT, error, History(attempt=5)).action is OnError.DEFER, (
        "the last attempt may be deferred too"
    )


def test_deferrals_are_bounded_in_number_and_in_total() -> None:
    error = facts(C.RATE_LIMIT, retry_after=20.0)
    assert least(DEFAULT, error, History(deferrals=50)).reason == "rate_limit: used up 50 of 50 deferrals"
    assert least(DEFAULT, error, History(deferred=DEFAULT.total_deferral - 20)).delay == 20
    over = least(DEFAULT, error, History(deferred=DEFAULT.total_deferral - 19))
    assert (over.action, over.exhausted) == (OnError.FAIL, True)


@pytest.mark.parametrize("category", sorted(REFUSED_FOR_NOW))
@pytest.mark.parametrize("retry_after", [None, 20.0])
def test_in_the_line_of_a_limit_that_cools_no_attempt_is_burned(
    category: Category, retry_after: float | None
) -> None:
    error = facts(category, retry_after=retry_after)
    decision = decide(DEFAULT, error, History(attempt=5), in_line=True)
    assert (decision.action, decision.delay) == (OnError.DEFER, retry_after or 0.0)
    assert decision.reason == f"{category}: deferred, until its limit has cooled (deferral 1 of 50)"


def test_the_bounds_and_the_final_answers_of_a_policy_hold_in_a_line_too() -> None:
    error = facts(C.RATE_LIMIT, retry_after=20.0)
    for history in (History(deferrals=50), History(deferred=DEFAULT.total_deferral)):
        used_up = decide(DEFAULT, error, history, in_line=True)
        assert (used_up.action, used_up.exhausted) == (OnError.FAIL, True)
    assert decide(DEFAULT, error, History(left=20.0), in_line=True).is_late
    assert decide(DEFAULT, facts(C.RATE_LIMIT, retry_after=3601.0), in_line=True).is_final
    asks = DEFAULT.with_rules(rule("ask", category=C.RATE_LIMIT))
    assert decide(asks, error, in_line=True).action is OnError.ASK
    few = DEFAULT.with_rules(rule("defer", category=C.RATE_LIMIT, limit=2))
    assert decide(few, error, History(deferrals=2), in_line=True).is_final
    tries = DEFAULT.with_rules(rule("retry", category=C.RATE_LIMIT, limit=2))
    assert decide(tries, error, History(attempt=2, deferrals=2), in_line=True).action is OnError.DEFER


def test_without_retries_a_job_is_deferred_in_the_line_of_a_limit_that_cools_and_nowhere_else() -> None:
    once, error = DEFAULT.with_retries(0), facts(C.RATE_LIMIT, retry_after=20.0)
    assert decide(once, error, History(deferrals=3), in_line=True).action is OnError.DEFER
    assert decide(once, error, History(deferrals=50), in_line=True).is_final
    assert decide(once, error).reason == "rate_limit: used up 0 of 0 deferrals"
    assert decide(NONE, error, in_line=True).is_final


@pytest.mark.parametrize("action", [OnError.FAIL, OnError.DEAD_LETTER, OnError.ASK])
def test_a_time_over_the_cap_is_not_waited_for(action: OnError) -> None:
    policy = DEFAULT.with_rules(rule("defer", category=C.RATE_LIMIT, has_retry_after=True, too_long=action))
    decision = decide(policy, facts(C.RATE_LIMIT, retry_after=3601.0))
    assert (decision.action, decision.exhausted) == (action, True)
    assert "asks for a pause of 3601 s, over the policy's longest deferral of 3600 s" in decision.reason
    assert decide(policy, facts(C.RATE_LIMIT, retry_after=3600.0)).delay == 3600


def test_a_time_over_the_cap_ends_a_retry_too() -> None:
    assert decide(DEFAULT, facts(C.SERVER_ERROR, retry_after=86_400.0)).is_final


def test_timeouts_and_connections_back_off_with_full_jitter() -> None:
    for category in (C.TIMEOUT, C.CONNECTION):
        histories = [History(attempt=n) for n in range(1, 5)]
        assert [least(DEFAULT, facts(category), history).delay for history in histories] == [0, 0, 0, 0]
        assert [most(DEFAULT, facts(category), history).delay for history in histories] == [4, 8, 16, 32]


def test_a_server_error_is_retried_soon_but_not_before_retry_after() -> None:
    assert most(DEFAULT, facts(C.SERVER_ERROR)).delay == 2
    error = facts(C.SERVER_ERROR, retry_after=7.0)
    assert (least(DEFAULT, error).action, least(DEFAULT, error).delay) == (OnError.RETRY, 7)


def test_a_lost_worker_is_forgiven_at_first() -> None:
    delays = [most(DEFAULT, facts(C.WORKER_LOST), History(attempt=n)).delay for n in (1, 2, 3)]
    assert delays == [0, 1, 2]


def test_pauses_are_bounded_in_total() -> None:
    policy = Policy(rules=(rule("retry", category=C.TIMEOUT, schedule=Fixed(60)),), attempts=10, total=100)
    assert decide(policy, facts(C.TIMEOUT), History(attempt=2, paused=60)).delay == 40
    over = decide(policy, facts(C.TIMEOUT), History(attempt=3, paused=100))
    assert (over.action, over.reason) == (OnError.FAIL, "timeout: used up 100 s of 100 s of pauses")


def test_no_attempt_is_planned_for_after_the_deadline() -> None:
    for error in (facts(C.RATE_LIMIT), facts(C.RATE_LIMIT, retry_after=10.0)):
        assert not least(DEFAULT, error, History(left=10.5)).is_final
        late = least(DEFAULT, error, History(left=10.0))
        assert (late.action, late.exhausted, late.is_late) == (OnError.FAIL, True, True)
        assert "would start after the job's deadline" in late.reason


def test_the_first_rule_that_matches_decides() -> None:
    policy = DEFAULT.with_rules(
        rule("dead_letter", error="MyError", status=503),
        rule("ask", error="MyError"),
        rule("retry", code="Model_Loading", schedule=Fixed(3), limit=2),
    )
    mine = facts(C.SERVER_ERROR, names=("app.errors.MyError", "Exception"), status=503)
    assert decide(policy, mine).action is OnError.DEAD_LETTER
    other = decide(policy, facts(C.TIMEOUT, names=("app.MyError",), status=500))
    assert (other.action, other.needs_person, other.is_final) == (OnError.ASK, True, True)
    loading = facts(C.INVALID_REQUEST, codes=("x", "MODEL_LOADING"))
    assert decide(policy, loading) == Decision(OnError.RETRY, "invalid_request: attempt 2 of 2", 3)
    assert decide(policy, loading, History(attempt=2)).is_final
    assert decide(policy, facts(C.RATE_LIMIT)).action is OnError.RETRY


class OurError(Exception):
    class Inner(Exception):
        pass


class OurSubError(OurError):
    pass


@pytest.mark.parametrize(
    "wanted", [OurError, "OurError", "tests.OurError", f"{__name__}.OurError", [KeyError, OurError], "Exception"]
)
def test_a_rule_names_a_class_or_any_of_its_parents(wanted: str | type[Exception]) -> None:
    policy = Policy(rules=(rule("dead_letter", error=wanted),))
    assert decide(policy, OurError()).action is OnError.DEAD_LETTER
    assert decide(policy, OurSubError()).action is OnError.DEAD_LETTER


@pytest.mark.parametrize(
    "wanted", [OurSubError, "rError", "est_deciding.OurError", "other.OurError", OurError.Inner]
)
def test_a_rule_names_no_class_that_it_does_not_mean(wanted: str | type[Exception]) -> None:
    assert decide(Policy(rules=(rule("dead_letter", error=wanted),)), OurError()).action is OnError.RETRY


@pytest.mark.parametrize(
    ("wanted", "matches"), [(503, True), ("5xx", True), (range(500, 503), False), ([1 + 401], False)]
)
def test_a_rule_names_statuses(wanted: int | str | range, matches: bool) -> None:
    policy = Policy(rules=(rule("dead_letter", status=wanted),))
    assert (decide(policy, facts(C.ERROR, status=503)).action is OnError.DEAD_LETTER) is matches
    assert decide(policy, facts(C.ERROR)).action is OnError.RETRY


def test_a_predicate_sees_the_facts() -> None:
    policy = DEFAULT.with_rules(rule("ask", when=lambda error: "balance" in error.message))
    assert decide(policy, RuntimeError("no balance")).action is OnError.ASK
    assert decide(policy, RuntimeError("no")).action is OnError.RETRY


def test_a_predicate_that_raises_matches_nothing_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    def broken(error: ErrorFacts) -> bool:
        return bool(1 / 0)

    assert decide(DEFAULT.with_rules(rule("ask", when=broken)), ValueError()).action is OnError.FAIL
    assert "broken() of a retry rule raised ZeroDivisionError" in caplog.text


def test_a_deferral_by_rule_burns_no_attempt_without_a_time_of_the_provider() -> None:
    policy = DEFAULT.with_rules(rule("defer", code="busy", schedule=Fixed(30), limit=2))
    busy = facts(C.ERROR, codes=("busy",))
    assert decide(policy, busy).delay == 30
    assert not decide(policy, busy).burns_attempt
    assert decide(policy, busy, History(deferrals=2)).is_final


def test_new_rules_replace_those_of_the_policy_that_they_cover() -> None:
    policy = DEFAULT.with_rules(rule("fail", category=[C.TIMEOUT, C.CONNECTION, C.TIMED_OUT]))
    assert len(policy.rules) == len(DEFAULT.rules)
    assert decide(policy, TimeoutError()).is_final


def test_retries_compose_with_a_policy() -> None:
    assert policy_of(None, None) is DEFAULT
    assert policy_of(retries=9).attempts == 10
    assert policy_of("patient").attempts == PATIENT.attempts
    assert policy_of("patient", 2).attempts == 3
    assert policy_of(QUICK, 0).defers_in_line_only
    assert policy_of([rule("ask", status=418)]).rules[0].action is OnError.ASK
    assert policy_of(rule("ask", status=418), base=QUICK).attempts == QUICK.attempts


def test_no_retries_means_that_the_body_runs_once() -> None:
    policy = policy_of(retries=0)
    for error in (facts(C.RATE_LIMIT, retry_after=1.0), facts(C.TIMEOUT), facts(C.WORKER_LOST)):
        assert decide(policy, error).is_final


def test_the_preset_none_never_tries_again() -> None:
    assert all(decide(NONE, facts(category, retry_after=1.0)).is_final for category in Category)


def test_a_step_that_asks_is_tried_again_whatever_the_rules_say() -> None:
    asked = decide_asked(DEFAULT, ValueError(), after=90_000.0)
    assert asked == Decision(OnError.RETRY, "the step asked for it: attempt 2 of 5", 90_000)
    assert decide_asked(DEFAULT, ValueError(), History(attempt=5), after=1.0).exhausted
    assert decide_asked(DEFAULT, ValueError(), History(left=1.0), after=1.0).exhausted
    assert decide_asked(DEFAULT, ValueError(), after=-5.0).delay == 0


def test_a_step_that_asks_without_a_time_gets_the_pause_of_its_error() -> None:
    assert decide_asked(DEFAULT, facts(C.RATE_LIMIT), random=lambda: 0.0).delay == 10
    assert decide_asked(DEFAULT, ValueError(), random=lambda: 1.0) == Decision(
        OnError.RETRY, "invalid_input: attempt 2 of 5", 1
    )


def test_schedules() -> None:
    growing = Exponential(first=1, factor=3, longest=20, at_once=2)
    assert [growing.pause(n, lambda: 1.0) for n in range(1, 8)] == [0, 0, 1, 3, 9, 20, 20]
    assert growing.pause(10_000, lambda: 0.5) == 10
    ladder = Ladder((1, 5), spread=1)
    assert [ladder.pause(n, lambda: 0.5) for n in (1, 2, 3, 900)] == [1.5, 7.5, 7.5, 7.5]
    assert Fixed(4, spread=0.5).pause(7, lambda: 1.0) == 6


def test_a_described_error_and_the_error_itself_are_decided_alike() -> None:
    error = TimeoutError("slow")
    assert most(DEFAULT, error) == most(DEFAULT, describe(error))
