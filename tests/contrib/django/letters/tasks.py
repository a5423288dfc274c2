"""Tasks as Django's documentation writes them."""

from __future__ import annotations

import asyncio
from typing import Any

import django
from django.tasks import TaskContext, task

_PATIENT: dict[str, Any] = {"retries": 2, "timeout": 30} if django.VERSION >= (6, 1) else {}
"""The options of a task for its step, from Django 6.1 on."""


@task
def add(first: int, second: int) -> int:
    """A task."""
    return first + second


@task(priority=50, queue_name="post", **_PATIENT)
def send(to: str) -> str:
    """A task with options."""
    return f"to {to}"


@task
async def wait(seconds: float) -> str:
    """A coroutine."""
    await asyncio.sleep(seconds)
    return "waited"


@task(takes_context=True)
def report(context: TaskContext) -> list[Any]:
    """A task that asks who it is."""
    return [context.task_result.id, context.attempt]


@task
def fail(message: str) -> None:
    """A task that fails for good at once: its error says that the arguments are wrong."""
    raise LookupError(message)
