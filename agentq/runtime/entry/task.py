"""Steps as Celery tasks: the class behind every step, bound to whichever app is finalised."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from celery import Celery, Task, shared_task
from celery.exceptions import Retry as CeleryRetry

from agentq.exceptions import AgentqError, DefinitionError, InvalidValue, KeyConflict
from agentq.runtime.attempt.attempt import AttemptRunner
from agentq.runtime.dispatch.message import CARRIER, DISPATCH_HEADER, EARLY_HEADER, PAYS_HEADER, QUEUE_HEADER
from agentq.runtime.entry import adoption, dead_letters, refused_methods, self_retry, ticks
from agentq.runtime.find import engine_of
from agentq.runtime.refused import refusals
from agentq.runtime.start import starts
from agentq.steps import registry
from agentq.steps.definition import StepDefinition

if TYPE_CHECKING:
    from agentq.runtime.engine import Engine
    from agentq.runtime.workflow import Workflow


class StepMixin:
    """The methods of a step's task that differ from a plain task's; mixed into the app's own task class.

    So Django's and Flask's task bases stay in force.
    """

    acks_late = True
    acks_on_failure_or_timeout = True
    reject_on_worker_lost = False  # a poison step would loop; the ledger counts and the caretaker rescues
    ignore_result = True
    track_started = False
    typing = False  # arguments are checked by their annotations
    throws = (AgentqError,)  # no step's own error comes as itself: AttemptFailed says that it failed
    resultrepr_maxsize = 200
    Request = "agentq.runtime.entry.request:StepRequest"

    def __call__(self: Any, *args: Any, **kwargs: Any) -> Any:
        request = self.request
        if request.called_directly or request.is_eager or getattr(request, "agentq_entered", False):
            return self.run(*args, **kwargs)
        request.agentq_entered = True  # a step that calls itself calls the function
        engine = engine_of(self.app)
        job_id = _job_id(args) if is_job_message(request) else self._adopted(engine, args, kwargs)
        asked = (_hard_timeout(self), _early_after(request), _sent_to(request), _pays(request))
        return AttemptRunner(engine, job_id, self.name, *asked).run()

    def enclosed(self: Any, run: Callable[..., Any]) -> Callable[..., Any]:
        """Return *run* inside what the app's own task class does around a task, such as Flask's context."""
        call = self.app.Task.__call__
        if call is Task.__call__:  # Celery's own, which would hide the request
            return run
        task = object.__new__(type(self))
        vars(task).update(vars(self), run=run)
        return partial(call, task)

    def _adopted(self: Any, engine: Engine, args: tuple[Any, ...], kwargs: dict[str, Any]) -> uuid.UUID:
        try:
            return adoption.adopt(engine, self, args, kwargs)
        except (DefinitionError, InvalidValue, KeyConflict) as error:
            refusals.refuse_current(engine, str(error))
            raise

    def apply_async(self: Any, args: Any = None, kwargs: Any = None, **options: Any) -> Workflow[Any]:
        """Start a workflow of this one step; ``countdown``, ``eta``, ``expires`` and ``link`` are honoured."""
        return starts.start_call(engine_of(self.app), self.name, args, kwargs, options)

    def retry(
        self: Any,
        args: Any = None,
        kwargs: Any = None,
        exc: Any = None,
        throw: bool = True,
        eta: Any = None,
        countdown: Any = None,
        max_retries: int | None = None,
        **options: Any,
    ) -> CeleryRetry:
        """Ask for another attempt, as Celery's ``self.retry`` does; the delay is kept in the ledger."""
        if args is not None or kwargs is not None:
            refused_methods.refuse_other_arguments(self)
        return self_retry.of_step(self, exc, throw=throw, eta=eta, countdown=countdown, max_retries=max_retries)

    def replace(self: Any, sig: Any) -> Any:
        """Refused: raises DefinitionError."""
        refused_methods.refuse(self, "replace")

    def add_to_chord(self: Any, sig: Any, lazy: bool = False) -> Any:
        """Refused: raises DefinitionError."""
        refused_methods.refuse(self, "add_to_chord")


def is_job_message(request: Any) -> bool:
    """Say whether a message is a job message of agentq's, or a plain call of the task."""
    return isinstance(getattr(request, DISPATCH_HEADER, None), int)


def install() -> None:
    """Bind every step, registered or to come, to every Celery app, as ``shared_task`` does.

    Celery calls a shared task's ``on_bound`` with each app as soon as that is finalised: the steps go with it.
    """
    refused_methods.install()
    self_retry.install()
    registry.subscribe(_bind_everywhere)
    dead_letters.install()
    ticks.install()
    shared_task(name=CARRIER, bind=True, on_bound=staticmethod(_bind_all), **_options())(_run_plain_task)


_apps: WeakSet[Celery] = WeakSet()
"""The apps that have the steps."""


def _bind_all(app: Celery) -> None:
    if app not in _apps:  # Celery binds tasks once more when it has made them all
        _apps.add(app)
        for step in registry.all_steps():
            _bind(app, step)


def _bind_everywhere(step: StepDefinition) -> None:
    for app in list(_apps):
        app.finalize()  # where another thread is at it, that has to end first
        _bind(app, step)


def _bind(app: Celery, step: StepDefinition) -> None:
    if registry.find(step.name) is step:  # else its module was loaded again
        attributes = {
            "name": step.name,
            "run": staticmethod(step.function),
            "__doc__": step.function.__doc__,
            "__module__": step.function.__module__,
            "__wrapped__": step.function,
        }
        app.register_task(type("StepTask", (StepMixin, app.Task), attributes)())


def _run_plain_task(self: Any, job_id: str) -> Any:
    """Run the plain Celery task of a job."""
    job, request = _job_id((job_id,)), self.request
    return AttemptRunner(
        engine_of(self.app), job, None, _hard_timeout(self), _early_after(request), _sent_to(request)
    ).run()


def _hard_timeout(task: Any) -> float | None:
    """Return the hard limit in seconds that the pool is given as well, which only prefork keeps."""
    hard: float | None = (task.request.timelimit or (None, None))[0]
    return hard or task.time_limit


def _early_after(request: Any) -> uuid.UUID | None:
    """Return the job before this one, where the message was published while that one was being completed."""
    return _job_id((request.parent_id,)) if getattr(request, EARLY_HEADER, False) is True else None


def _sent_to(request: Any) -> str | None:
    queue = getattr(request, QUEUE_HEADER, None)
    return queue if isinstance(queue, str) else None


def _pays(request: Any) -> bool:
    return getattr(request, PAYS_HEADER, False) is True


def _options() -> dict[str, Any]:
    names = [
        "acks_late",
        "acks_on_failure_or_timeout",
        "reject_on_worker_lost",
        "ignore_result",
        "throws",
        "Request",
    ]
    return {name: getattr(StepMixin, name) for name in names}


def _job_id(args: tuple[Any, ...]) -> uuid.UUID:
    try:
        (text,) = args
        return uuid.UUID(text)
    except (ValueError, TypeError, AttributeError):
        return uuid.UUID(int=0)  # no job has it: refused and counted as any other foreign message
