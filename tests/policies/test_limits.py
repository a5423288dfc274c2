"""A limit that makes no sense is refused where it is written, and a key where it is made."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from celery import Celery

from agentq import AgentQ, Concurrency, Context, Cooldown, Rate, Tokens, step
from agentq.canvas.compile import Defaults, compile_canvas
from agentq.exceptions import CanvasError, InvalidArguments, LimitReached, StepDefinitionError
from agentq.policies.limits import Element, Meters, PerTime, check_limits, limits_of_job, over_burst
from agentq.steps.naming import Naming
from agentq.testing import make_context
from tests.support.fake_worker import Catalogue


@pytest.mark.parametrize(
    ("name", "limit", "key", "text"),
    [
        ("", 1, None, "the name of a limit is ''"),
        ("a:b", 1, None, "without a colon"),
        ("a" * 256, 1, None, "1 to 255 printable characters"),
        ("a", 0, None, r"limit of Concurrency\('a'\) is 0, must be a whole number from 1"),
        ("a", -1, None, "is -1"),
        ("a", None, None, "every policy has a bound"),
        ("a", 1.5, None, "is 1.5"),
        ("a", 1, "", "must be a parameter's name, a template"),
        ("a", 1, "{", "must be a parameter's name, a template"),
        ("a", 1, "{x.y}", "must be a parameter's name, a template"),
        ("a", 1, "{0}", "must be a parameter's name, a template"),
        ("a", 1, 3, "is 3, must be a parameter's name"),
    ],
)
def test_a_limit_that_makes_no_sense_is_refused(name: Any, limit: Any, key: Any, text: str) -> None:
    with pytest.raises(StepDefinitionError, match=text):
        Concurrency(name, limit=limit, key=key)


@pytest.mark.parametrize(
    ("limits", "text"),
    [
        (Concurrency("a", limit=1), "must be a list of limits"),
        (["a"], "limits= has 'a'"),
        ([Concurrency("a", limit=1, key="modle")], "names 'modle', which is no argument there.*'model'"),
        ([Concurrency("a", limit=1), Concurrency("a", limit=2)], "two limits of the name 'a' that differ"),
    ],
)
def test_limits_that_do_not_fit_a_step_are_refused(limits: Any, text: str) -> None:
    with pytest.raises(StepDefinitionError, match=text):
        check_limits(limits, "step 's'", ["model"])
    with pytest.raises(StepDefinitionError, match=text):
        step(name="tests.of.unfit.limits", limits=limits)(lambda model: model)


def test_a_limit_of_all_steps_has_no_key_but_the_tenant() -> None:
    with pytest.raises(StepDefinitionError, match=r"AgentQ.*names 'model', which is no argument there"):
        AgentQ(Celery("refused", set_as_current=False), limits=[Concurrency("a", limit=1, key="model")])


@pytest.mark.parametrize("first", ["step", "app"])
def test_a_limit_of_a_step_and_of_all_steps_has_one_number(first: str) -> None:
    """Otherwise a worker would declare the one number, and another the other."""
    name = f"tests.same.{first}"

    def define(limit: int) -> object:
        return step(name=name, limits=[Concurrency(name, limit=limit)])(lambda: None)

    def limit_all(limit: int) -> object:
        return AgentQ(Celery("limited", set_as_current=False), limits=[Concurrency(name, limit=limit)])

    one, other = (define, limit_all) if first == "step" else (limit_all, define)
    kept = one(2)
    with pytest.raises(StepDefinitionError, match=rf"step '{name}' and AgentQ.* declare limit '{name}' with"):
        other(3)
    assert other(2) is not kept


@pytest.mark.parametrize(
    ("key", "arguments", "found"),
    [
        (None, {}, {"a": 2}),
        ("model", {"model": "x"}, {"a:x": 2}),
        ("model", {"model": 0}, {"a:0": 2}),
        ("model", {"model": None}, {}),
        ("{tenant}:{model}", {"model": "x"}, {"a:acme:x": 2}),
        ("{tenant}", {}, {"a:acme": 2}),
        (lambda model: model.upper(), {"model": "x"}, {"a:X": 2}),
        (lambda model: None, {"model": "x"}, {}),
    ],
)
def test_the_key_of_a_job_is_in_the_name_of_its_limit(key: Any, arguments: dict[str, Any], found: Any) -> None:
    assert slots_of([Concurrency("a", limit=2, key=key)], "s", "acme", arguments) == found


def slots_of(limits: list[Element], step: str, tenant: str, arguments: dict[str, Any]) -> dict[str, int | None]:
    """Return the slots of a job's limits, by their names."""
    found = limits_of_job(limits, step, tenant, arguments)
    return {name: limit.meters.slots for name, limit in found.items()}


def test_of_two_limits_of_one_name_the_smaller_holds() -> None:
    limits = [Concurrency("a", limit=2), Concurrency("a", limit=1)]
    assert slots_of(limits, "s", "acme", {}) == {"a": 1}


@pytest.mark.parametrize(
    ("key", "arguments", "text"),
    [
        ("model", {}, "needs 'model', which is not among its arguments"),
        ("model", {"model": ""}, "is '', must be text or a whole number"),
        ("model", {"model": True}, "is True, must be text"),
        ("model", {"model": 1.5}, "is 1.5, must be text"),
        ("model", {"model": "x" * 255}, "at most 255 with the name"),
        ("model", {"model": "a\x00b"}, "of printable characters"),
        (lambda model: model.upper(), {"model": 3}, "cannot be made: AttributeError"),
    ],
)
def test_a_key_that_makes_no_sense_is_refused_at_the_start(key: Any, arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidArguments, match=text):
        slots_of([Concurrency("a", limit=2, key=key)], "s", "acme", arguments)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Rate("a", limit=0, per=1), r"limit of Rate\('a'\) is 0, must be a whole number from 1"),
        (lambda: Rate("a", limit=2, per=0), "seconds of Rate.* is 0, must be 0.1"),
        (lambda: Rate("a", limit=2, per=float("inf")), "give a finite number"),
        (lambda: Rate("a", limit=2, per="1"), "is '1', must be a number"),
        (
            lambda: Rate("a", limit=5, per=1, burst=5),
            "is 5, must be a whole number from 1 to 4",
        ),
        (lambda: Rate("a", limit=5, per=1, burst=0), "is 0, must be a whole number from 1"),
        (lambda: Rate("a:b", limit=5, per=1), "without a colon"),
        (lambda: Tokens("a", limit=-1, per=1, estimate=1), "is -1"),
        (lambda: Tokens("a", limit=9, per=1, estimate=-1), r"estimate of Tokens\('a'\) is -1"),
        (lambda: Tokens("a", limit=9, per=1, estimate=True), "is True"),
        (lambda: Tokens("a", limit=9, per=1, estimate="a b"), "must be a parameter's name, a whole number, or"),
        (lambda: Tokens("a", limit=9, per=1, estimate=None), "is None, must be a parameter's name"),
        (lambda: Tokens("a", limit=9, per=1, estimate=1, burst=9), "from 1 to 8"),
        (lambda: Cooldown("a", key=""), "must be a parameter's name, a template"),
    ],
)
def test_a_meter_that_makes_no_sense_is_refused(make: Any, text: str) -> None:
    with pytest.raises(StepDefinitionError, match=text):
        make()


@pytest.mark.parametrize(
    ("limits", "text"),
    [
        ([Tokens("a", limit=9, per=1, estimate="max")], "estimate .* names 'max', which is no argument"),
        ([Tokens("a", limit=9, per=1, estimate="tenant")], "names 'tenant', which is no argument"),
        (
            [Concurrency("a", limit=1), Rate("a", limit=2, per=1, key="model")],
            "with different keys; give them one",
        ),
        ([Rate("a", limit=3, per=1), Rate("a", limit=2, per=1)], "two limits of the name 'a' that differ"),
    ],
)
def test_meters_that_do_not_fit_a_step_are_refused(limits: Any, text: str) -> None:
    with pytest.raises(StepDefinitionError, match=text):
        check_limits(limits, "step 's'", ["model"])


def test_elements_of_one_name_and_key_are_meters_of_one_limit() -> None:
    limits = [
        Concurrency("a", key="model", limit=3),
        Rate("a", key="model", limit=60, per=60, burst=5),
        Tokens("a", key="model", limit=100, per=1, estimate="most"),
        Cooldown("a", key="model"),
    ]
    found = limits_of_job(limits, "s", "acme", {"model": "x", "most": 7})
    assert list(found) == ["a:x"]
    assert found["a:x"].meters == Meters(3, PerTime(60, 60.0, 5), PerTime(100, 1.0, 10), has_cooldown=True)
    assert (found["a:x"].tokens, found["a:x"].meters.pays) == (7, True)


def test_of_two_rates_of_one_name_the_slower_holds_and_estimates_add_up() -> None:
    limits = [
        *[Rate("a", limit=60, per=60), Rate("a", limit=60, per=61)],
        *[Tokens("a", limit=100, per=1, estimate=3), Tokens("a", limit=100, per=1, estimate=4)],
    ]
    [found] = limits_of_job(limits, "s", "acme", {}).values()
    assert found.meters.rate == PerTime(60, 61.0, 1)
    assert found.tokens == 7


@pytest.mark.parametrize(
    ("estimate", "arguments", "text"),
    [
        ("most", {}, "estimate of limit 'a' needs 'most', which is not among its arguments"),
        ("most", {"most": None}, "estimate of limit 'a' is None, must be a whole number of tokens"),
        ("most", {"most": 1.5}, "is 1.5, must be a whole number"),
        ("most", {"most": -1}, "is -1, must be a whole number"),
        (lambda most: 1 / most, {"most": 0}, "cannot be made: ZeroDivisionError"),
        (lambda most: "many", {"most": 0}, "is 'many', must be a whole number"),
    ],
)
def test_an_estimate_that_makes_no_sense_is_refused_at_the_start(
    estimate: Any, arguments: dict[str, Any], text: str
) -> None:
    limits = [Tokens("a", limit=100, per=1, estimate=estimate)]
    with pytest.raises(InvalidArguments, match=text):
        limits_of_job(limits, "s", "acme", arguments)


@pytest.mark.parametrize(("limit", "burst", "gap"), [(600, 1, 60 / 599), (10, 5, 12), (1, 1, 60)])
def test_the_burst_of_a_rate_counts_within_it(limit: int, burst: int, gap: float) -> None:
    assert PerTime(limit, 60.0, burst).gap == pytest.approx(gap)


@pytest.mark.parametrize(("estimate", "found"), [(11, [11]), (10, []), ("most", [50]), (lambda: 99, [])])
def test_estimates_of_more_than_may_be_used_at_once_are_found(estimate: Any, found: list[int]) -> None:
    limits = [Tokens("a", limit=100, per=1, estimate=estimate), Concurrency("b", limit=1)]
    assert [tokens for _, tokens in over_burst(limits, {"most": 50, "model": "x"})] == found


@step(name="tests.of.strict.limits")
def unbounded() -> None:
    """A step without a time limit."""


def test_a_strict_limit_needs_a_step_with_a_hard_timeout() -> None:
    strict = Concurrency("a", limit=1, strict=True)
    with pytest.raises(
        StepDefinitionError, match=r"limit 'a' is strict.*give it one with @step\(hard_timeout=…\)"
    ):
        step(name="tests.of.unfit.limits", limits=[strict])(lambda: None)
    with pytest.raises(
        CanvasError, match=r"'tests.of.strict.limits' has no hard timeout, and limit 'a' is strict"
    ):
        compile_canvas(unbounded.s(), Catalogue(), Defaults(naming=Naming((strict,))))
    assert compile_canvas(unbounded.s().set(time_limit=9), Catalogue(), Defaults(naming=Naming((strict,)))).nodes
    with pytest.raises(StepDefinitionError, match=r"strict of Concurrency\('a'\) is 'yes', must be True or False"):
        Concurrency("a", limit=1, strict="yes")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("limit", "text"),
    [
        (Concurrency("tool", limit=1, key="{tenant}"), r"has key='\{tenant\}'; leave it out"),
        (Tokens("tool", limit=1, per=1, estimate=len), "has no arguments; give a whole number"),
        ("tool", "must be limits such as"),
    ],
)
def test_a_limit_that_calls_cannot_take_is_refused(limit: Any, text: str) -> None:
    with pytest.raises(StepDefinitionError, match=text):
        AgentQ(Celery("refused", set_as_current=False), call_limits=[limit])


@pytest.mark.parametrize("wait", [-1, "5", None, True, float("nan"), float("inf")])
def test_a_time_that_no_call_can_wait_is_refused(wait: Any) -> None:
    with pytest.raises(InvalidArguments, match="wait must be seconds from 0 up"):
        make_context().limit("search", wait=wait)


@pytest.mark.parametrize("name", ["", None, 3, "a\nb", "a" * 256])
def test_a_name_that_no_limit_can_have_is_refused(name: Any) -> None:
    with pytest.raises(InvalidArguments, match="give the name of a limit"):
        make_context().limit(name)


async def hold(context: Context, limit: str) -> None:
    async with context.limit("other"), context.limit(limit):
        raise AssertionError("it holds a slot of a full limit")


def test_a_context_of_a_unit_test_has_slots_of_all_limits_but_the_full_ones() -> None:
    context = make_context(full=["search"])
    with context.limit("other"):
        pass
    with pytest.raises(LimitReached, match="no slot of limit 'search' was free within 5 s: 1 of 1") as caught:
        asyncio.run(hold(context, "search"))
    assert (caught.value.limit, caught.value.used, caught.value.slots, caught.value.wait) == ("search", 1, 1, 5.0)
