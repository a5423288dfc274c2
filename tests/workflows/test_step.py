"""``@step``: a plain function to its caller, a named policy to agentq; wrong options are reported."""

from __future__ import annotations

import importlib
import itertools
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Signature

import agentq
from agentq import step
from agentq.exceptions import DefinitionError, StepDefinitionError
from agentq.runtime.step import Step
from agentq.steps import registry

_numbers = itertools.count()


@pytest.fixture
def name() -> Iterator[str]:
    """A name that no other step has."""
    name = f"unit.step-{next(_numbers)}"
    yield name
    registry._steps.pop(name, None)


@step
def greet(name: str, *, loud: bool = False) -> str:
    """Greet a person.

    And more that is not for the listing.
    """
    return f"Hello {name}{'!' if loud else ''}"


def test_a_step_called_is_the_plain_function() -> None:
    assert greet("Ann", loud=True) == "Hello Ann!"
    assert greet.__name__ == "greet"
    assert greet.__wrapped__("Bob") == "Hello Bob"


def test_a_step_without_options() -> None:
    assert isinstance(greet, Step)
    assert greet.name == f"{__name__}.greet"
    assert (greet.queue, greet.priority, greet.timeout, greet.retries) == (None, None, None, 4)
    assert greet.description == "Greet a person."
    assert registry.find(greet.name) is greet
    assert repr(greet) == f"<step {greet.name}>"


def test_a_step_with_every_option(name: str) -> None:
    made = step(name=name, queue="io", priority=9, timeout=1.5, retries=0, description="x")(lambda: None)
    assert (made.name, made.queue, made.priority, made.timeout, made.retries, made.description) == (
        *(name, "io", 9, 1.5, 0),
        "x",
    )


def test_signatures_are_celerys() -> None:
    assert greet.s("Ann") == Signature(greet.name, ("Ann",), {})
    assert greet.si("Ann", loud=True) == Signature(greet.name, ("Ann",), {"loud": True}, immutable=True)
    assert greet.signature(("Ann",), {"loud": True}) == greet.s("Ann", loud=True)
    assert (greet.s() | greet.s()).task == "celery.chain"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"priority": 10}, "priority is 10, must be 0 to 9"),
        ({"priority": -1}, "priority is -1"),
        ({"priority": "high"}, "priority is 'high'"),
        ({"timeout": 0}, "timeout is 0, must be over 0 seconds"),
        ({"timeout": "5"}, "timeout is '5'"),
        ({"retries": -1}, "retries is -1, must be a whole number from 0 to 1000"),
        ({"retries": 1.5}, r"retries is 1\.5"),
        ({"retries": 1001}, "retries is 1001"),
        ({"name": "a'b"}, "without quotes"),
        ({"name": "a\nb"}, "printable"),
        ({"name": "x" * 101}, "1 to 100"),
        ({"name": 5}, "step name 5"),
        ({"name": "agentq.run"}, "'agentq.run' is a name of agentq's or Celery's own"),
        ({"name": "celery.chord"}, "'celery.chord' is a name of agentq's or Celery's own"),
        ({"retires": 1}, r"no option 'retires'\. Did you mean 'retries'"),
        ({"zzz": 1}, "no option 'zzz'.*It knows: deadline, description, hard_timeout, limits, max_backlog, name"),
    ],
    ids=str,
)
def test_an_invalid_option_is_an_error(name: str, options: dict[str, Any], expected: str) -> None:
    with pytest.raises(StepDefinitionError, match=expected) as error:
        step(**{"name": name, **options})(lambda: None)
    assert isinstance(error.value, DefinitionError)
    assert registry.find(name) is None


@pytest.mark.parametrize("thing", [5, "text", object()], ids=["int", "str", "object"])
def test_only_a_function_can_be_a_step(name: str, thing: Any) -> None:
    with pytest.raises(StepDefinitionError, match="must decorate a function"):
        step(name=name)(thing)


def test_two_functions_cannot_share_a_name(name: str) -> None:
    def one() -> None: ...
    def two() -> None: ...

    first = step(name=name)(one)
    with pytest.raises(StepDefinitionError, match=r"two steps are named.*\.one.*\.two.*another name"):
        step(name=name)(two)
    assert registry.find(name) is first


def test_a_module_that_is_loaded_again_replaces_its_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    module = tmp_path / "reloaded_steps.py"
    module.write_text("from agentq import step\n@step\ndef answer() -> int:\n    return 41\n")
    loaded = importlib.import_module("reloaded_steps")
    first = loaded.answer
    importlib.reload(loaded)
    assert registry.find("reloaded_steps.answer") is loaded.answer
    assert loaded.answer is not first
    registry._steps.pop("reloaded_steps.answer")
    sys.modules.pop("reloaded_steps")


def test_a_step_of_a_program_has_the_name_by_which_a_worker_imports_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def work() -> None: ...

    work.__module__ = "__main__"
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", None)
    monkeypatch.setattr(sys.modules["__main__"], "__file__", "/somewhere/pipeline.py", raising=False)
    made = step(work)
    assert made.name == f"pipeline.{work.__qualname__.replace('.<locals>', '')}"
    registry._steps.pop(made.name)


def test_a_listener_hears_of_steps_before_and_after_it(name: str) -> None:
    heard: list[str] = []
    registry.subscribe(lambda made: heard.append(made.name))
    assert greet.name in heard
    step(name=name)(lambda: None)
    assert heard[-1] == name
    registry._listeners.pop()


def test_the_public_names_are_the_contract() -> None:
    assert {"AgentQ", "Context", "current", "each", "start", "step", "workflow"} <= set(agentq.__all__)
    assert dir(agentq) == sorted(agentq.__all__), "what a prompt completes"
    assert all(getattr(agentq, name) is not None for name in dir(agentq))
