"""Django's tasks as steps: what ``@task(…)`` may say, and what a worker runs."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import make_dataclass
from typing import Any

from django.tasks import DEFAULT_TASK_QUEUE_NAME, Task, TaskContext
from django.tasks.signals import task_started
from django.utils.json import normalize_json
from django.utils.module_loading import import_string

from agentq.contrib.django.tasks import results
from agentq.runtime.step import Step
from agentq.steps import registry
from agentq.steps.context import Context
from agentq.steps.definition import StepDefinition
from agentq.steps.options import StepOptions

_OF_EACH_TASK = ("name", "queue", "priority", "description")
STEP_OPTIONS = tuple(option for option in StepOptions.__annotations__ if option not in _OF_EACH_TASK)
"""The options of a step that ``@task(…)``, from Django 6.1 on, and a backend's OPTIONS may have."""

StepTask = make_dataclass(
    "StepTask",
    [(option, StepOptions.__annotations__[option], None) for option in STEP_OPTIONS],
    bases=(Task,),
    namespace={"__module__": __name__},
    frozen=True,
    slots=True,
    kw_only=True,
)
"""A task with the options of a step, each as in ``@agentq.step``: ``@task(timeout=60, retry="patient")``."""

_declared: dict[str, dict[str, Any]] = {}


def step_of(task: Task, defaults: dict[str, Any]) -> StepDefinition:
    """Return the step of a task; declares it where it is new, or says something else than before.

    Args:
        task: the task.
        defaults: options of the step that the task does not name itself.

    Raises StepDefinitionError for options that make no sense.
    """
    name = task.module_path
    own = {option: getattr(task, option, None) for option in STEP_OPTIONS}
    options = {**defaults, **{option: value for option, value in own.items() if value is not None}}
    found = registry.find(name)
    if found is None or _declared.get(name) != options:
        queue = None if task.queue_name == DEFAULT_TASK_QUEUE_NAME else task.queue_name
        found = Step(_runner(task.func), name=name, queue=queue, **options)
        _declared[name] = options
    return found


def is_task(step: str) -> bool:
    """Say whether a step is a task of Django's."""
    return step in _declared


def _runner(function: Callable[..., Any]) -> Callable[..., Any]:
    def run(ctx: Context, /, *args: Any, **kwargs: Any) -> Any:
        task = import_string(ctx.step)
        result = results.of_job(ctx.job_id, task)
        task_started.send(type(task.get_backend()), task_result=result)
        before = (TaskContext(task_result=result),) if task.takes_context else ()
        value = task.func(*before, *args, **kwargs)
        return _awaited(value) if inspect.isawaitable(value) else normalize_json(value)

    for name in ("__module__", "__qualname__", "__name__", "__doc__"):  # not __wrapped__: it takes other arguments
        setattr(run, name, getattr(function, name))
    return run


async def _awaited(value: Awaitable[Any]) -> Any:
    return normalize_json(await value)
