"""Two steps that share a name or an origin never replace each other silently."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from functools import partial
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import flask
import pytest
from celery import Celery

from agentq import step
from agentq.exceptions import StepDefinitionError

pytestmark = pytest.mark.filterwarnings("ignore::celery.exceptions.DuplicateTaskNameWarning")
"""A step that is defined again is bound again to the apps of other tests that live, of which Celery warns."""


def scaler(factor: int, **options: Any) -> Any:
    @step(**options)
    def scale(value: int) -> int:
        return value * factor

    return scale


def logged(function: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator that hides the function it wraps."""

    def wrapper(value: int) -> Any:
        return function(value)

    return wrapper


def test_a_second_closure_of_one_factory_is_refused_unless_it_has_a_name() -> None:
    double = scaler(2)
    with pytest.raises(StepDefinitionError, match="name="):
        scaler(3)
    triple = scaler(3, name="tests.triple")
    assert (double(10), triple(10)) == (20, 30)


def test_a_second_function_behind_a_decorator_without_wraps_is_refused() -> None:
    step(logged(lambda value: value + 1))
    with pytest.raises(StepDefinitionError, match="name="):
        step(logged(lambda value: value + 2))


WORK = """
from agentq import step

@step
def work(value: int) -> int:
    return value * FACTOR
"""
SCRIPT = """
from agentq import step
from agentq.exceptions import StepDefinitionError

@step
def work(value: int) -> int:
    return value

try:
    @step
    def work(value: int) -> int:
        return value + 1
except StepDefinitionError as error:
    print("def", "name=" in str(error))

first = step(lambda value: value + 1)
try:
    step(lambda value: value + 2)
except StepDefinitionError as error:
    print("lambda", "name=" in str(error))
"""


def test_a_second_function_of_one_name_in_a_script_is_refused(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    run = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert run.stdout == "def True\nlambda True\n", run.stderr


def test_a_cell_of_a_notebook_may_be_run_again_and_holds_no_two_functions_of_one_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    notebook = ModuleType("notebook")
    monkeypatch.setitem(sys.modules, "notebook", notebook)

    def run(cell: str, text: str) -> Any:
        exec(compile(text, f"/tmp/ipykernel_1/{cell}.py", "exec"), notebook.__dict__)
        return notebook.__dict__["work"]

    one = "from agentq import step\n@step\ndef work(value: int) -> int:\n    return value"
    run("1", one)
    assert run("1", one)(1) == 1
    assert run("2", f"\n\n{one} + 1")(1) == 2
    with pytest.raises(StepDefinitionError, match="name="):
        run("3", f"{one}\n{one}")


@pytest.mark.parametrize(
    "text",
    [
        "return value * factor * (1 or later)",
        "return sum(factor for _ in range(value))",
        "return multiplied(value)",
    ],
)
def test_one_text_that_is_executed_with_other_globals_makes_twins(text: str) -> None:
    before = "from agentq import step\ndef multiplied(value): return value * factor"
    code = f"{before}\n@step\ndef work(value: int) -> int:\n    {text}\nlater = 1"

    def run(name: str, factor: int) -> Any:
        made: dict[str, Any] = {"__name__": name, "factor": factor, "client": object()}
        exec(compile(code, "<template>", "exec"), made)
        return made["work"]

    name = f"tests.template{len(text)}"
    run(name, 2)
    assert run(name, 2)(10) == 20
    with pytest.raises(StepDefinitionError, match="name="):
        run(name, 3)
    assert run(f"{name}.other", 3)(10) == 30


def test_a_module_that_is_imported_again_may_have_other_constants(tmp_path: Path) -> None:
    for factor in (2, 3):
        (tmp_path / "constants.py").write_text(f"FACTOR = {factor}\n{'#' * factor}\n{WORK}")
        spec = spec_from_file_location("constants", tmp_path / "constants.py")
        assert spec is not None
        assert spec.loader is not None
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
        assert module.work(10) == 10 * factor


@pytest.mark.parametrize("framework", [Celery, flask.Flask])
def test_a_factory_of_applications_may_be_called_again(framework: Any) -> None:
    def create(name: str, factor: int = 1) -> Any:
        app = framework(name)

        @step(name=f"tests.weigh.{framework.__name__}")
        def weigh(value: int) -> int:
            assert app is not None
            return value * factor

        return weigh

    create("one")
    assert create("two")(3) == 3
    with pytest.raises(StepDefinitionError, match="name="):
        create("three", 2)


def test_a_partial_is_refused_with_what_to_do() -> None:
    with pytest.raises(StepDefinitionError, match="def"):
        step(partial(int, base=2), name="tests.binary")  # type: ignore[call-overload]
