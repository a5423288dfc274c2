"""Celery's ``self.retry`` in what agentq runs: the delay is kept in the ledger, and the bound holds there."""

from __future__ import annotations

from datetime import datetime
from functools import wraps
from typing import Any

from celery import Task
from celery.app.task import raise_with_context
from celery.exceptions import Retry as CeleryRetry

from agentq.runtime.attempt.running import Running, attempt
from agentq.runtime.entry import refused_methods

_USED_UP = "its own retries are used up"


def of_step(
    task: Any,
    exc: Any,
    *,
    throw: bool,
    eta: datetime | None,
    countdown: float | None,
    max_retries: int | None,
) -> CeleryRetry:
    """Do what ``self.retry`` does in a step; without a time of its own, the policy gives the pause."""
    running = attempt.get()
    if running is None:  # called as a function
        raise exc or CeleryRetry("Task can be retried", None)
    if max_retries is not None:
        _bound(running, max_retries)
        if running.retries >= max_retries:
            running.final = _USED_UP
            raise_with_context(
                exc or task.MaxRetriesExceededError(f"{task.name!r} was tried {max_retries + 1} times")
            )
    asked = CeleryRetry(str(exc or "retry asked for"), exc=exc, when=eta or countdown)
    if throw:
        raise asked from exc
    running.asked = asked
    return asked


def install() -> None:
    """Let plain tasks say so of themselves while agentq runs them; what Celery runs is left alone."""
    Task.retry = _noting(Task.retry)


def _noting(native: Any) -> Any:
    @wraps(native)
    def retry(self: Any, args: Any = None, kwargs: Any = None, exc: Any = None, *rest: Any, **options: Any) -> Any:
        running, request = attempt.get(), self.request
        if running is None or not getattr(request, "agentq_job", False):
            return native(self, args, kwargs, exc, *rest, **options)
        if (args is not None and list(args) != list(request.args or ())) or (
            kwargs is not None and dict(kwargs) != dict(request.kwargs or {})
        ):
            refused_methods.refuse_other_arguments(self)
        asked = options.get("max_retries")
        most = self.max_retries if asked is None else asked
        if most is not None:
            _bound(running, most)
        try:
            running.asked = native(self, args, kwargs, exc, *rest, **options)
        except CeleryRetry:
            raise
        except Exception:
            running.final = _USED_UP
            raise
        return running.asked

    return retry


def _bound(running: Running, max_retries: int) -> None:
    running.attempts = max(1, int(max_retries) + 1)
