"""A step as its author defines it: a function with a name, options and a retry policy."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, Unpack

from agentq.exceptions import StepDefinitionError, nearest
from agentq.policies import Policy, policy_of
from agentq.policies.checks import a_count
from agentq.policies.limits import check_limits, require_not_strict
from agentq.redaction import show
from agentq.states import MOST_COUNTED, OnFailure
from agentq.steps.options import RetryOption, StepOptions, require_known
from agentq.steps.parameters import Parameters

MAX_NAME = 100
"""Characters of a step's name; a message, which has it, is kept under 1 KB."""
HARD_LIMIT_AFTER = 10.0
"""Seconds between the soft limit, which a step may use to save its work, and the hard one."""


class StepDefinition:
    """A step for all that need to know of it; authors have it as ``Step``, which can be called and started too.

    Raises StepDefinitionError for an option that does not exist or has a value that makes no sense.
    """

    def __init__(self, function: Callable[..., Any], **options: Unpack[StepOptions]) -> None:
        require_known(options)
        if not hasattr(function, "__qualname__"):  # partials and callable objects
            raise StepDefinitionError(
                f"@step must decorate a function, not {show(function)}; write a function with def that calls it"
            )
        self.function = function
        self.name = options.get("name") or _default_name(function)
        self.queue = options.get("queue")
        self.priority = options.get("priority")
        self.timeout = options.get("timeout")
        self.hard_timeout = options.get("hard_timeout")
        self.deadline = options.get("deadline")
        self.on_failure = options.get("on_failure")
        self.policy = self._policy_of(options.get("retry"), options.get("retries"))
        self.max_backlog = options.get("max_backlog")
        self.description = options.get("description") or (function.__doc__ or "").strip().partition("\n")[0]
        self._check()
        self.limits = check_limits(
            options.get("limits", ()), f"step {self.name!r}", inspect.signature(function).parameters
        )
        if self.hard_timeout is None:
            require_not_strict(self.limits, f"step {self.name!r}", "@step(hard_timeout=…)")

    @cached_property
    def parameters(self) -> Parameters:
        """The function's typed parameters; built on first use, when all of its module is there."""
        return Parameters(self.name, self.function)

    @property
    def retries(self) -> int:
        """The number of retries after a failure."""
        return self.policy.attempts - 1

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
        if self.max_backlog is not None:
            a_count(f"step {self.name!r}: max_backlog", self.max_backlog, least=1, most=MOST_COUNTED)
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


def _default_name(function: Callable[..., Any]) -> str:
    module = function.__module__
    if module == "__main__":  # the worker imports this file by its name
        main = sys.modules["__main__"]
        module = main.__spec__.name if main.__spec__ else Path(getattr(main, "__file__", None) or "main").stem
    return f"{module}.{function.__qualname__}".replace(".<locals>", "")
