"""Name to step, for this process; duplicates are refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from agentq.exceptions import StepDefinitionError
from agentq.policies.limits import Element, meters_of
from agentq.steps.twins import is_twin, module_run

if TYPE_CHECKING:
    from agentq.steps.definition import StepDefinition

_steps: dict[str, StepDefinition] = {}
_runs: dict[str, object] = {}
_listeners: list[Callable[[StepDefinition], None]] = []
_limits_of_all: WeakKeyDictionary[object, Sequence[Element]] = WeakKeyDictionary()
"""The limits of all steps, by the app that declares them."""


def register(step: StepDefinition) -> None:
    """Enter a step; entering the same function again (a reloaded module) replaces it.

    Raises StepDefinitionError where another function has the name already, be it of the same module and name: of
    one factory, of a decorator without ``functools.wraps``, a second ``def``.
    """
    known = _steps.get(step.name)
    if known is not None and _origin(known) != _origin(step):
        raise StepDefinitionError(
            f"two steps are named {step.name!r}: {_origin(known)} and {_origin(step)}; "
            "give one of them another name: @step(name=…)"
        )
    run = module_run(step.function)
    if known is not None and is_twin(known.function, step.function, _runs[step.name] is run):
        raise StepDefinitionError(
            f"two steps are named {step.name!r}, and their functions are both {_origin(step)} yet not the same: "
            "a factory called twice, a decorator without functools.wraps, a second def or lambda, or a text "
            "executed with other globals; give each a name of its own: @step(name=…)"
        )
    for other in _steps.values():
        if other.name != step.name:
            _require_same(f"steps {step.name!r} and {other.name!r}", step.limits, other.limits)
    for limits in _limits_of_all.values():
        _require_same(f"step {step.name!r} and AgentQ(…)", step.limits, limits)
    _steps[step.name] = step
    _runs[step.name] = run
    for listener in _listeners:
        listener(step)


def find(name: str) -> StepDefinition | None:
    """Return the step of this name, or None."""
    return _steps.get(name)


def subscribe(listener: Callable[[StepDefinition], None]) -> None:
    """Call *listener* for each step that is registered, and for those that are already."""
    _listeners.append(listener)
    for step in list(_steps.values()):
        listener(step)


def limit_all(owner: object, limits: Sequence[Element]) -> None:
    """Enter limits of all steps, which hold as long as *owner*, an app's engine, is there.

    Raises StepDefinitionError where a step declares one of them with another number.
    """
    for step in _steps.values():
        _require_same(f"step {step.name!r} and AgentQ(…)", step.limits, limits)
    _limits_of_all[owner] = limits


def _require_same(both: str, ones: Sequence[Element], others: Sequence[Element]) -> None:
    for one, two in product(ones, others):
        if one.name == two.name and type(one) is type(two) and meters_of(one) != meters_of(two):
            raise StepDefinitionError(
                f"{both} declare limit {one.name!r} with {meters_of(one).text} and {meters_of(two).text}; give it "
                "one number, or two names"
            )


def _origin(step: StepDefinition) -> str:
    return f"{step.function.__module__}.{step.function.__qualname__}"


def all_steps() -> list[StepDefinition]:
    """Return every step of this process."""
    return list(_steps.values())
