"""Plain Celery tasks as jobs: each runs with the request that Celery gives a task, and by its own retry rules."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from celery import Task
from celery.exceptions import Ignore, Reject
from celery.exceptions import Retry as CeleryRetry

from agentq.exceptions import Directive
from agentq.ledger.records import Claim
from agentq.runtime.attempt import plain_task_rules as rules
from agentq.runtime.attempt.other_release import Misfit, UnknownTask
from agentq.runtime.attempt.running import Running
from agentq.runtime.bridge.loop import is_async
from agentq.runtime.dispatch.message import CARRIER

if TYPE_CHECKING:
    from agentq.runtime.engine import Engine


def run(
    engine: Engine,
    claim: Claim,
    args: list[Any],
    kwargs: dict[str, Any],
    running: Running,
    resolve: Callable[[Any], Any],
) -> Any:
    """Run the plain task of a job and return what it returns.

    Args:
        engine: that of the Celery app that has it.
        claim: the attempt.
        args, kwargs: what it is called with.
        running: where its own word on another attempt is noted.
        resolve: waits for a coroutine.

    Raises UnknownTask where the app has no such task, Misfit where it does not take the arguments.
    """
    app = engine.app
    task = app.tasks.get(claim.step)
    if task is None:
        raise UnknownTask(claim.step)
    try:
        _check(task, args, kwargs)
    except TypeError as error:
        raise Misfit(error, engine.catalogue.digest(claim.step)) from None
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
    kinds = rules.autoretry_for(task)
    if not kinds or running.final is not None:
        return
    is_retried = isinstance(error, kinds) and not isinstance(error, rules.dont_autoretry_for(task))
    if is_async(task.run) and is_retried:  # Celery's autoretry wraps only functions that are not
        raise task.retry(exc=error, **rules.retry_kwargs(task) | rules.backoff(task, running.retries))
    running.final = "its autoretry_for does not name the error"
