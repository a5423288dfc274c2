"""Code that was written for plain Celery, with steps in it; a worker imports it with ``-I``."""

from __future__ import annotations

from typing import Any

from celery import shared_task

from agentq import Context, step
from tests.support.steps import add


@step
def ask_again(ctx: Context, value: Any) -> Any:
    """Ask for another attempt in Celery's own way."""
    if ctx.attempt == 1:
        raise ask_again.retry(exc=ConnectionError("not yet"), countdown=0.1)
    return [value, ctx.attempt]


@step
def add_twice(x: int, y: int) -> int:
    """Call another step as the function that it is."""
    return add(add(x, y), y)


@shared_task(bind=True, name="tests.bound")  # type: ignore[untyped-decorator]
def bound(self: Any, value: Any) -> list[Any]:
    """A plain task that looks at itself."""
    return [value, self.name, self.request.id]


@shared_task(bind=True, name="tests.asks_again")  # type: ignore[untyped-decorator]
def plain_asks_again(self: Any, path: str) -> int:
    """A plain task that retries once in Celery's own way; returns how often it ran."""
    with open(path, "a+", encoding="utf-8") as runs:
        runs.write("run\n")
        runs.seek(0)
        count = len(runs.readlines())
    if count == 1:
        raise self.retry(exc=ConnectionError("not yet"), countdown=0)
    return count


@shared_task(bind=True, name="tests.retries_ten", autoretry_for=(OSError,), max_retries=10, default_retry_delay=0)  # type: ignore[untyped-decorator]
def retries_ten(self: Any, message: str) -> None:
    """A plain task that Celery tries eleven times."""
    raise ConnectionError(message)


@shared_task(bind=True, name="tests.retries_never", max_retries=0)  # type: ignore[untyped-decorator]
def retries_never(self: Any, message: str) -> None:
    """A plain task that Celery tries once."""
    raise self.retry(exc=ConnectionError(message), countdown=0)
