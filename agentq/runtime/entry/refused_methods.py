"""Methods of Celery's tasks that would go round the ledger: refused where agentq runs the task, kept elsewhere."""

from __future__ import annotations

from functools import wraps
from typing import Any

from celery import Task

from agentq.exceptions import DefinitionError

_INSTEAD = {
    "replace": "start what comes next with agentq.start(), or put it behind this step in the canvas",
    "add_to_chord": "return a list, and put each(step.s()) behind this step in the canvas",
}


def refuse(task: Any, method: str) -> None:
    """Raise DefinitionError, which is never tried again, saying what to use in place of *method*."""
    raise DefinitionError(f"{task.name!r} calls self.{method}(), which is not durable; {_INSTEAD[method]}")


def refuse_other_arguments(task: Any) -> None:
    """Raise DefinitionError for a retry with arguments that the ledger would not know."""
    raise DefinitionError(
        f"{task.name!r} calls self.retry() with other arguments, but a job keeps those that it was started with; "
        "start another workflow with agentq.start()"
    )


def install() -> None:
    """Let plain tasks refuse them while agentq runs them; a plain task that Celery runs is left alone."""
    for name in _INSTEAD:
        setattr(Task, name, _refusing(name, getattr(Task, name)))


def _refusing(name: str, native: Any) -> Any:
    @wraps(native)
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        if getattr(self.request, "agentq_job", False):
            refuse(self, name)
        return native(self, *args, **kwargs)

    return method
