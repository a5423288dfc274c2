"""Steps to test with: plain ones, and ones that can be held, counted, made to fail and made to kill."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from typing import Any

from celery import shared_task

from agentq import Context, Policy, rule, step
from agentq.policies import Fixed
from tests.support import gates


@step
def add(x: int, y: int) -> int:
    return x + y


@step
def total(numbers: list[int]) -> int:
    return sum(numbers)


@step
def numbers(count: int) -> list[int]:
    return list(range(count))


@step
def echo(*args: Any, **kwargs: Any) -> Any:
    return {"args": list(args), "kwargs": kwargs}


@step
def meet(value: Any, folder: str, name: str) -> Any:
    """Return *value* once the gate *name* is open."""
    gates.pass_gate(folder, name)
    return value


@step
def count(value: Any, folder: str, name: str) -> Any:
    """Return *value* and leave a trace, so that a test can count how often the body ran."""
    gates.note(folder, name)
    return value


@step
def nap(value: Any, seconds: float) -> Any:
    time.sleep(seconds)
    return value


@step(retry=Policy(otherwise=rule("retry", schedule=Fixed(0.5)), name="prompt"))
def flaky(ctx: Context, value: Any, failures: int) -> Any:
    """Fail *failures* times, then return *value*."""
    if ctx.attempt <= failures:
        raise ConnectionError(f"failure {ctx.attempt} of {failures}")
    return value


@step(retries=0)
def fail(message: str) -> Any:
    raise ValueError(message)


@step(retries=2)
def kill_itself(ctx: Context, value: Any, times: int) -> Any:
    """Kill the process that runs it the first *times* times, then return *value*."""
    if ctx.attempt <= times:
        os.kill(os.getpid(), signal.SIGKILL)
    return value


@step
async def later(value: Any, seconds: float = 0.01) -> Any:
    await asyncio.sleep(seconds)
    return value


@step
def whoami(ctx: Context, value: Any = None) -> Any:
    """Return what the context says, and the process."""
    names = ("workflow_id", "job_id", "step", "tenant", "attempt", "max_attempts")
    return {name: getattr(ctx, name) for name in names} | {"value": value, "pid": os.getpid()}


@shared_task(name="tests.plain")  # type: ignore[untyped-decorator]
def plain(value: Any) -> Any:
    """A plain Celery task: not a step."""
    return value
