"""The canvases and checks of the tests inside Django."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from unittest.mock import patch

from django.db import transaction

from agentq import Concurrency, step
from agentq.contrib.django import project
from agentq.contrib.django.models import Workflow
from agentq.ledger.records import Dispatch


@step
def double(number: int) -> int:
    """A step."""
    return 2 * number


@step(limits=[Concurrency("double", limit=1)])
def double_alone(number: int) -> int:
    """A step with a limit."""
    return 2 * number


@step
def largest(numbers: list[int]) -> int:
    """The step after a group."""
    return max(numbers)


def started() -> int:
    """Return how many workflows this thread's connection sees."""
    return Workflow.objects.count()


@contextmanager
def dispatches() -> Iterator[list[str]]:
    """Collect the steps whose messages are dispatched, in place of a broker."""
    dispatched: list[str] = []

    def publish(found: tuple[Dispatch, ...]) -> int:
        dispatched.extend(dispatch.step for dispatch in found)
        return len(found)

    with patch.object(project.current().dispatcher, "publish", publish):
        yield dispatched


@contextmanager
def rolled_back() -> Iterator[None]:
    """Run what is inside in ``atomic()``, and then undo it."""
    with suppress(ZeroDivisionError), transaction.atomic():
        yield
        raise ZeroDivisionError
