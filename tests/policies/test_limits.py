"""A limit that makes no sense is refused where it is written, and a key where it is made."""

from __future__ import annotations

from typing import Any

import pytest
from celery import Celery

from agentq import AgentQ, Concurrency, step
from agentq.exceptions import InvalidArguments, StepDefinitionError
from agentq.policies.limits import check_limits, slots_of


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


def test_of_two_limits_of_one_name_the_smaller_holds() -> None:
    limits = [Concurrency("a", limit=2), Concurrency("a", limit=1)]
    assert slots_of(limits, "s", "acme", {}) == {"a": 1}


@pytest.mark.parametrize(
    ("key", "arguments", "text"),
    [
        ("model", {}, "needs 'model', which the step before gives"),
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
