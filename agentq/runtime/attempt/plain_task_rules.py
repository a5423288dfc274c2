"""The rules that are written on a plain Celery task: its options, its retries, its ``autoretry_for``."""

from __future__ import annotations

from itertools import takewhile
from typing import Any

from celery import Celery, Task
from celery.utils.time import get_exponential_backoff_interval

from agentq.policies import DEFAULT

_OPTIONS = ("priority", "expires", "soft_time_limit", "time_limit")
_WITHOUT_BOUND = 1_000_000
"""Attempts of a plain task with ``max_retries=None``, which is tried again for ever in Celery."""


def options_of(app: Celery, name: str) -> dict[str, Any]:
    """Return the options of a call that are written on the plain task of this name, but for its queue."""
    task = app.tasks[name]
    options = {option: getattr(task, option, None) for option in _OPTIONS}
    # The default is of all messages that Celery sends: it is not written on the task.
    if options["priority"] == app.conf.task_default_priority:
        del options["priority"]
    return options


def attempts_of(app: Celery, name: str) -> int:
    """Return how many attempts a job of a plain task may have: by its own options, else by the default policy."""
    task = app.tasks[name]
    retries = retry_kwargs(task).get("max_retries")
    retries = task.max_retries if retries is None else retries
    if retries is None:
        return _WITHOUT_BOUND
    is_said = _says(task, "max_retries") or bool(autoretry_for(task))
    return max(1, int(retries) + 1) if is_said else DEFAULT.attempts


def backoff(task: Task, retries: int) -> dict[str, float]:
    """Return the countdown that Celery's autoretry gives; it wraps no ``async def``, whose errors come later."""
    factor = float(getattr(task, "retry_backoff", False))
    if not factor:
        return {}
    pause = get_exponential_backoff_interval(
        factor=int(max(1.0, factor)),
        retries=retries,
        maximum=int(getattr(task, "retry_backoff_max", 600)),
        full_jitter=getattr(task, "retry_jitter", True),
    )
    return {"countdown": pause}


def autoretry_for(task: Task) -> tuple[type[Exception], ...]:
    """Return the errors after which the task is tried again by Celery's autoretry."""
    return tuple(getattr(task, "autoretry_for", ()))


def dont_autoretry_for(task: Task) -> tuple[type[Exception], ...]:
    """Return the errors among these after which it is not."""
    return tuple(getattr(task, "dont_autoretry_for", ()))


def retry_kwargs(task: Task) -> dict[str, Any]:
    """Return the arguments of the ``self.retry`` that Celery's autoretry calls."""
    return dict(getattr(task, "retry_kwargs", {}))


def _says(task: Task, name: str) -> bool:
    """Say whether the task, or a base of its own, has the attribute: not Celery's default."""
    kinds = takewhile(lambda kind: kind is not Task, type(task).__mro__)
    return name in vars(task) or any(name in vars(kind) for kind in kinds)
