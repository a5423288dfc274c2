"""``@step``: a named function with a policy, registered as a Celery task."""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar, Unpack, cast, overload

from celery import Signature, current_app

from agentq.exceptions import StepDefinitionError, nearest
from agentq.policies import Policy, policy_of
from agentq.redaction import show
from agentq.states import OnFailure
from agentq.steps import registry
from agentq.steps.context import Context
from agentq.steps.options import RetryOption, StepOptions, require_known
from agentq.steps.parameters import Parameters

if TYPE_CHECKING:
    from agentq.runtime.workflow import Workflow

P = ParamSpec("P")
Q = ParamSpec("Q")
R = TypeVar("R", covariant=True)

MAX_NAME = 100
"""Characters of a step's name; a message, which has it, is kept under 1 KB."""
HARD_LIMIT_AFTER = 10.0
"""Seconds between the soft limit, which a step may use to save its work, and the hard one."""


class Step(Generic[P, R]):
    """A step: call it and it is the plain function; ``.s()`` it and it is a signature for a canvas.

    Attributes of Celery's task (``request``, ``apply``, …) are found on it too.
    """

    def __init__(self, function: Callable[..., Any], **options: Unpack[StepOptions]) -> None:
        require_known(options)
        if not hasattr(function, "__qualname__"):  # partials and callable objects
            raise StepDefinitionError(
                f"@step must decorate a function, not {show(function)}; write a function with def that calls it"
            )
        functools.update_wrapper(self, function)
        self.function = function
        self.name = options.get("name") or _default_name(function)
        self.queue = options.get("queue")
        self.priority = options.get("priority")
        self.timeout = options.get("timeout")
        self.hard_timeout = options.get("hard_timeout")
        self.deadline = options.get("deadline")
        self.on_failure = options.get("on_failure")
        self.policy = self._policy_of(options.get("retry"), options.get("retries"))
        self.description = options.get("description") or (function.__doc__ or "").strip().partition("\n")[0]
        self._check()
        registry.register(self)

    @functools.cached_property
    def parameters(self) -> Parameters:
        """The function's typed parameters; built on first use, when all of its module is there."""
        return Parameters(self.name, self.function)

    @property
    def retries(self) -> int:
        """The number of retries after a failure."""
        return self.policy.attempts - 1

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

    def __repr__(self) -> str:
        return f"<step {self.name}>"

    def _check(self) -> None:
        if not callable(self.function):
            raise StepDefinitionError(f"@step must decorate a function, not {self.function!r}")
        fits = isinstance(self.name, str) and self.name.isascii() and self.name.isprintable()
        if not fits or not 0 < len(self.name) <= MAX_NAME or "'" in self.name:
            raise StepDefinitionError(
                f"step name {self.name!r}: must be 1 to {MAX_NAME} printable ASCII characters without quotes"
            )
        if re.fullmatch(r"agentq\.\w+|celery\..*", self.name):
            raise StepDefinitionError(
                f"{self.name!r} is a name of agentq's or Celery's own; give the step another: @step(name=…)"
            )
        if self.priority is not None and self.priority not in range(10):
            raise StepDefinitionError(f"step {self.name!r}: priority is {self.priority!r}, must be 0 to 9")
        if self.on_failure not in (None, *OnFailure):
            raise StepDefinitionError(
                f"step {self.name!r}: on_failure is {self.on_failure!r}, must be one of: {', '.join(OnFailure)}."
                f"{nearest(str(self.on_failure), OnFailure)}"
            )
        for option in ("timeout", "hard_timeout", "deadline"):
            seconds = getattr(self, option)
            if seconds is not None and not (isinstance(seconds, (int, float)) and seconds > 0):
                raise StepDefinitionError(
                    f"step {self.name!r}: {option} is {seconds!r}, must be over 0 seconds, or None for none"
                )
        if self.timeout and self.hard_timeout is None:
            self.hard_timeout = self.timeout + HARD_LIMIT_AFTER
        if self.timeout and self.hard_timeout and self.hard_timeout <= self.timeout:
            raise StepDefinitionError(
                f"step {self.name!r}: hard_timeout is {self.hard_timeout:g} s, but must be longer than timeout, "
                f"which is {self.timeout:g} s, so that the step has time to save its work"
            )

    def _policy_of(self, retry: RetryOption, retries: int | None) -> Policy:
        try:
            return policy_of(retry, retries)
        except StepDefinitionError as error:
            raise StepDefinitionError(f"step {self.name!r}: {error}") from None


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
            never.
        on_failure: what a job that failed for good does to its workflow: "stop" it (the rest waits for a replay),
            "continue" without it (its fan-in goes on without that member), or "fail" it as a whole. Default:
            "stop"; in a fan-in that says what it ``needs``, "continue".
        description: a line for people. Default: the first line of the docstring.

    Raises StepDefinitionError for an option that does not exist or has a value that makes no sense, and for
    a name that another step has.
    """
    if function is None:
        return lambda function: Step(function, **options)
    return Step(function, **options)


def _default_name(function: Callable[..., Any]) -> str:
    module = function.__module__
    if module == "__main__":  # the worker imports this file by its name
        main = sys.modules["__main__"]
        module = main.__spec__.name if main.__spec__ else Path(getattr(main, "__file__", None) or "main").stem
    return f"{module}.{function.__qualname__}".replace(".<locals>", "")
