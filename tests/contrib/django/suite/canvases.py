"""What the tests inside Django start, and what they look at."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from unittest.mock import patch

from django.db import transaction

from agentq import step
from agentq.contrib.django import project
from agentq.contrib.django.models import Workflow
from agentq.ledger.records import Bell


@step
def double(number: int) -> int:
    """A step."""
    return 2 * number


def started() -> int:
    """Return how many workflows this thread's connection sees."""
    return Workflow.objects.count()


@contextmanager
def bells() -> Iterator[list[str]]:
    """Collect the steps whose bells are rung, in place of a broker."""
    rung: list[str] = []

    def ring(found: tuple[Bell, ...]) -> int:
        rung.extend(bell.step for bell in found)
        return len(found)

    with patch.object(project.current().dispatcher, "ring", ring):
        yield rung


@contextmanager
def rolled_back() -> Iterator[None]:
    """Run what is inside in ``atomic()``, and then undo it."""
    with suppress(ZeroDivisionError), transaction.atomic():
        yield
        raise ZeroDivisionError
