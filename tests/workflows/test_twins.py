"""Two steps that share a name or an origin never replace each other silently."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from agentq import step
from agentq.exceptions import StepDefinitionError


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


def test_a_partial_is_refused_with_what_to_do() -> None:
    with pytest.raises(StepDefinitionError, match="def"):
        step(partial(int, base=2), name="tests.binary")  # type: ignore[call-overload]
