"""A test's replacement for an object, and the function that puts the original back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from celery import Celery, _state

from agentq.exceptions import DefinitionError, nearest
from agentq.runtime.step import Step
from agentq.steps import registry


@contextmanager
def replaced(target: Any, **values: Any) -> Iterator[None]:
    """Give an object other attributes inside the ``with``, without asking for those that it has not made yet."""
    own = vars(target)
    before = {name: own[name] for name in values if name in own}
    own.update(values)
    try:
        yield
    finally:
        for name in values:
            own.pop(name, None)
        own.update(before)


@contextmanager
def current(app: Celery) -> Iterator[None]:
    """Make an app the current one inside the ``with``, for ``agentq.start`` and ``step.delay``."""
    before = _state._tls.current_app  # Celery has no public way to read that a thread has none, and to restore it
    app.set_current()
    try:
        with replaced(_state, default_app=app):  # of other threads, such as that of the event loop
            yield
    finally:
        _state._set_current_app(before)


def function_of(app: Celery, step: Step[..., Any] | str) -> tuple[Any, str]:
    """Return the object and the attribute in which the function of a step, or of a plain task, is kept.

    Raises DefinitionError where neither has the name.
    """
    name = step if isinstance(step, str) else step.name
    found = registry.find(name)
    if found is not None:
        return found.parameters, "function"
    if name in app.tasks:
        task = app.tasks[name]
        return task, "_orig_run" if hasattr(task, "_orig_run") else "run"  # behind Celery's autoretry
    hint = nearest(name, [*app.tasks, *(known.name for known in registry.all_steps())])
    raise DefinitionError(f"no step or task is named {name!r}; import the module that defines it.{hint}")
