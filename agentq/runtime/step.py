"""``@step``: a step as its author has it, registered as a Celery task."""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar, Unpack, cast, overload

from celery import Signature, current_app

from agentq.steps import registry
from agentq.steps.context import Context
from agentq.steps.definition import StepDefinition
from agentq.steps.options import StepOptions

if TYPE_CHECKING:
    from agentq.runtime.workflow import Workflow

P = ParamSpec("P")
Q = ParamSpec("Q")
R = TypeVar("R", covariant=True)


class Step(StepDefinition, Generic[P, R]):
    """A step: call it and it is the plain function; ``.s()`` it and it is a signature for a canvas.

    Attributes of Celery's task (``request``, ``apply``, …) are found on it too.
    """

    def __init__(self, function: Callable[..., Any], **options: Unpack[StepOptions]) -> None:
        functools.update_wrapper(self, function)  # first: the options come before attributes of the function
        super().__init__(function, **options)
        registry.register(self)

    @property
    def task(self) -> Any:
        """The Celery task of this step in the current app."""
        return current_app.tasks[self.name]

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return cast(R, self.function(*args, **kwargs))

    @overload
    def s(self, *args: P.args, **kwargs: P.kwargs) -> Signature: ...
    @overload
    def s(self: Step[Concatenate[Any, Q], R], *args: Q.args, **kwargs: Q.kwargs) -> Signature: ...
    def s(self, *args: Any, **kwargs: Any) -> Signature:
        """Return a Celery signature; a result from the step before is put in front of *args*.

        So it takes all arguments, or all but the first.
        """
        return Signature(self.name, args, kwargs)

    def si(self, *args: P.args, **kwargs: P.kwargs) -> Signature:
        """Return an immutable signature: it takes nothing from the step before."""
        return Signature(self.name, args, kwargs, immutable=True)

    def signature(self, *args: Any, **kwargs: Any) -> Signature:
        """Return a signature as Celery's ``task.signature`` does."""
        return Signature(self.name, *args, **kwargs)

    subtask = signature

    def delay(self, *args: P.args, **kwargs: P.kwargs) -> Workflow[R]:
        """Start a workflow of this one step and return its handle."""
        return cast("Workflow[R]", self.task.apply_async(args, kwargs))

    def apply_async(self, *args: Any, **options: Any) -> Workflow[R]:
        """Start a workflow of this one step, with Celery's options (``countdown``, ``eta``, ``queue``, …)."""
        return cast("Workflow[R]", self.task.apply_async(*args, **options))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name == "function":
            raise AttributeError(name)
        return getattr(self.task, name)


if TYPE_CHECKING:

    class ContextStep(Step[P, R]):
        """A step whose first parameter is the ``Context``: given in a plain call, injected otherwise."""

        def __call__(self, ctx: Context, *args: P.args, **kwargs: P.kwargs) -> R: ...  # type: ignore[override]

    class AsyncStep(Step[P, R]):
        """An ``async def`` step: awaited in a plain call, by the worker otherwise."""

        def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]: ...  # type: ignore[override]

    class AsyncContextStep(ContextStep[P, R]):
        """Both."""

        def __call__(  # type: ignore[override]
            self, ctx: Context, *args: P.args, **kwargs: P.kwargs
        ) -> Coroutine[Any, Any, R]: ...

    class StepDecorator(Protocol):
        """The type of ``@step(…)`` with options."""

        @overload
        def __call__(
            self, function: Callable[Concatenate[Context, P], Coroutine[Any, Any, R]], /
        ) -> AsyncContextStep[P, R]: ...
        @overload
        def __call__(self, function: Callable[Concatenate[Context, P], R], /) -> ContextStep[P, R]: ...
        @overload
        def __call__(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> AsyncStep[P, R]: ...
        @overload
        def __call__(self, function: Callable[P, R], /) -> Step[P, R]: ...


@overload
def step(function: Callable[Concatenate[Context, P], Coroutine[Any, Any, R]], /) -> AsyncContextStep[P, R]: ...
@overload
def step(function: Callable[Concatenate[Context, P], R], /) -> ContextStep[P, R]: ...
@overload
def step(function: Callable[P, Coroutine[Any, Any, R]], /) -> AsyncStep[P, R]: ...
@overload
def step(function: Callable[P, R], /) -> Step[P, R]: ...
@overload
def step(**options: Unpack[StepOptions]) -> StepDecorator: ...
def step(function: Callable[..., Any] | None = None, /, **options: Unpack[StepOptions]) -> Any:
    """Make a function a step.

    Args:
        name: its name everywhere: Celery, ledger, Flower. Default: module and function name.
        queue: the Celery queue it runs on. Default: what the app's routes say.
        priority: 0 to 9, 9 first, where the broker has priorities. Default: the broker's.
        timeout: seconds that one attempt may take; then ``SoftTimeLimitExceeded`` is raised in it, with time to
            save its work.
        hard_timeout: seconds after which the process that runs the attempt is killed (prefork pool), or its
            coroutine abandoned (every pool). Default: 10 s after *timeout*.
        deadline: seconds from the start of the first attempt within which the job must be done, over all
            attempts and the pauses between them; then it fails.
        retry: the action for each error: a ``Policy``, a preset's name ("default", "quick", "patient",
            "none"), or rules made with ``rule(…)`` that go before the default's. Default: "default".
        retries: how often at most it is tried again after a failure, in place of the policy's number; 0 for
            never. A refused call that closes a limit with a ``Cooldown`` is no failure: also with 0 the job waits
            in the line of that limit.
        on_failure: what a job that failed for good does to its workflow: "stop" it (the rest waits for a replay),
            "continue" without it (its fan-in goes on without that member), or "fail" it as a whole. Default:
            "stop"; in a fan-in that says what it ``needs``, "continue".
        limits: limits of its jobs, such as ``Concurrency("model", key="model", limit=10)``: a job
            runs when each of them has a slot for it, and waits in the ledger until then. Default: none.
        max_backlog: how many of its jobs may wait, for a worker, a slot or their time; a start of a workflow with
            this step raises ``BacklogFull`` where that number waits. Default: any number.
        description: a line for people. Default: the first line of the docstring.

    Raises StepDefinitionError for an option that does not exist or has a value that makes no sense, and for
    a name that another step has.
    """
    if function is None:
        return lambda function: Step(function, **options)
    return Step(function, **options)
