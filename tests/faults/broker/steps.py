"""Steps of the tests of broken brokers; a worker knows them with ``-I tests.faults.broker.steps``."""

from __future__ import annotations

from typing import Any

from celery import shared_task
from celery.exceptions import Retry

from agentq import Context, step
from tests.support import gates


@step
def retry_behind(ctx: Context, value: Any, folder: str, name: str) -> Any:
    """Fail the first time once the gate *name* is open, to be tried again at once; then return *value*."""
    if ctx.attempt == 1:
        gates.pass_gate(folder, name)
        raise Retry("tried again soon", when=0.1)
    return value


@step
def newer(value: Any, folder: str, name: str) -> Any:
    """A step that a worker of an older release does not have."""
    gates.note(folder, name)
    return value


@shared_task(acks_late=True)  # type: ignore[untyped-decorator]
def wait_plainly(folder: str) -> None:
    """A plain Celery task that ends once the gate "plain" is open."""
    gates.pass_gate(folder, "plain")


@step
def note_turn(text: str, path: str) -> None:
    """Write down that it was this one's turn."""
    with open(path, "a") as turns:
        turns.write(f"{text}\n")
