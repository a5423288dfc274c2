"""Plain Celery tasks as jobs: their own retry rules, and what Celery gives a task that it runs."""

from __future__ import annotations

from collections.abc import Callable
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from celery import Celery, Task
from celery.exceptions import Ignore, Reject
from celery.exceptions import Retry as CeleryRetry
from celery.utils.time import get_exponential_backoff_interval

from agentq.exceptions import Directive
from agentq.ledger.records import Claim
from agentq.policies import DEFAULT
from agentq.runtime.attempt.other_release import Misfit, UnknownTask
from agentq.runtime.attempt.running import Running
from agentq.runtime.bridge.loop import is_async
from agentq.runtime.dispatch.message import CARRIER

if TYPE_CHECKING:
    from agentq.runtime.app import AgentQ

_OPTIONS = ("priority", "expires", "soft_time_limit", "time_limit")
_WITHOUT_BOUND = 1_000_000
"""Attempts of a plain task with ``max_retries=None``, which is tried again for ever in Celery."""


def options_of(app: Celery, name: str) -> dict[str, Any]:
    """Return the options of a call that are written on the plain task of this name, but for its queue."""
    task = app.tasks[name]
    options = {option: getattr(task, option, None) for option in _OPTIONS}
    if (
        options["priority"] == app.conf.task_default_priority
    ):  # of all messages of Celery's own: not the task's word
        del options["priority"]
    return options


def attempts_of(app: Celery, name: str) -> int:
    """Return how many attempts a job of a plain task may have: by its own word, else by the default policy."""
    task = app.tasks[name]
    retries = _retry_kwargs(task).get("max_retries")
    retries = task.max_retries if retries is None else retries
    if retries is None:
        return _WITHOUT_BOUND
    is_said = _says(task, "max_retries") or bool(_autoretry_for(task))
    return max(1, int(retries) + 1) if is_said else DEFAULT.attempts


def run(
    agentq: AgentQ,
    claim: Claim,
    args: list[Any],
    kwargs: dict[str, Any],
    running: Running,
    resolve: Callable[[Any], Any],
) -> Any:
    """Run the plain task of a job and return what it returns.

    Args:
        agentq: that of the Celery app that has it.
        claim: the attempt.
        args, kwargs: what it is called with.
        running: where its own word on another attempt is noted.
        resolve: waits for a coroutine.

    Raises UnknownTask where the app has no such task, Misfit where it does not take the arguments.
    """
    app = agentq.app
    task = app.tasks.get(claim.step)
    if task is None:
        raise UnknownTask(claim.step)
    try:
        _check(task, args, kwargs)
    except TypeError as error:
        raise Misfit(error, agentq.catalogue.digest(claim.step)) from None
    # As if run eagerly: then its own self.retry raises, where else it would publish a message of its own.
    carried_by = app.tasks[CARRIER].request
    task.push_request(
        args=args,
        kwargs=kwargs,
        id=str(claim.job_id),
        root_id=str(claim.workflow_id),
        parent_id=carried_by.parent_id,
        hostname=carried_by.hostname,
        delivery_info=carried_by.delivery_info,
        called_directly=False,
        is_eager=True,
        retries=running.retries,
        agentq_job=True,
    )
    try:
        return resolve(task(*args, **kwargs))
    except (Directive, CeleryRetry, Ignore, Reject):
        raise
    except Exception as error:
        _decide(task, running, error)
        raise
    finally:
        task.pop_request()


def _check(task: Task, args: list[Any], kwargs: dict[str, Any]) -> None:
    """Raise TypeError for what Celery would not send to the task either."""
    header = getattr(task, "__header__", None)  # a task that is a class of its own has none
    if task.typing and header is not None:
        header(*args, **kwargs)


def _decide(task: Task, running: Running, error: Exception) -> None:
    """Apply the task's ``autoretry_for`` to an error that left it; a task without one decides nothing."""
    kinds = _autoretry_for(task)
    if not kinds or running.final is not None:
        return
    if (
        is_async(task.run)
        and isinstance(error, kinds)
        and not isinstance(error, _tuple(task, "dont_autoretry_for"))
    ):
        raise task.retry(exc=error, **_retry_kwargs(task) | _backoff(task, running.retries))
    running.final = "its autoretry_for does not name the error"


def _backoff(task: Task, retries: int) -> dict[str, float]:
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


def _says(task: Task, name: str) -> bool:
    """Say whether the task, or a base of its own, has the attribute: not Celery's default."""
    kinds = takewhile(lambda kind: kind is not Task, type(task).__mro__)
    return name in vars(task) or any(name in vars(kind) for kind in kinds)


def _autoretry_for(task: Task) -> tuple[type[Exception], ...]:
    return _tuple(task, "autoretry_for")


def _tuple(task: Task, name: str) -> tuple[type[Exception], ...]:
    return tuple(getattr(task, name, ()))


def _retry_kwargs(task: Task) -> dict[str, Any]:
    return dict(getattr(task, "retry_kwargs", {}))
