"""Async steps that wait, and what a project hangs on Celery's signals; ``-I tests.runtime.waiting``."""

from __future__ import annotations

import asyncio
import os
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from celery.signals import task_postrun, task_prerun

from agentq import Context, step
from tests.support import gates

current: ContextVar[str] = ContextVar("current", default="")


@step(retry="quick")
async def hold(value: Any, folder: str, name: str) -> Any:
    """Return *value* once the gate *name* is open."""
    gates.note(folder, name)
    try:
        while not Path(folder, f"{name}.go").exists():
            await asyncio.sleep(0.1)
    except asyncio.CancelledError:
        gates.note(folder, f"{name} cancelled")
        raise
    return value


@step(timeout=0.3, hard_timeout=0.8, retries=0)
async def stay(folder: str) -> None:
    """Swallow every cancellation."""
    while True:
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            gates.note(folder, "asked to end")


@step(retry="quick", retries=1)
async def fail_later(folder: str) -> None:
    gates.note(folder, "failing")
    await asyncio.sleep(0.01)
    raise ConnectionError("the model is away")


@step
async def say(ctx: Context, folder: str) -> str:
    """Report the job's context before and after a wait."""
    before = current.get()
    await asyncio.sleep(0.2)
    report(ctx.job_id, f"ran in {before == current.get() == ctx.job_id}")
    return ctx.job_id


def report(task_id: str, what: str) -> None:
    """Add a line to the file of a task, in the folder that the worker's environment names."""
    with Path(os.environ["AGENTQ_TEST_FOLDER"], task_id).open("a") as file:
        file.write(f"{what}\n")


@task_prerun.connect  # type: ignore[untyped-decorator]
def _prerun(sender: Any, task_id: str, **_: Any) -> None:
    if sender.name == say.name:
        current.set(task_id)
        report(task_id, "prerun")


@task_postrun.connect  # type: ignore[untyped-decorator]
def _postrun(sender: Any, task_id: str, state: str, **_: Any) -> None:
    if sender.name == say.name:
        report(task_id, f"postrun {state} in {task_id == current.get() == sender.request.id}")
