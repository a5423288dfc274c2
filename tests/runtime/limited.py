"""Steps with time limits; a worker imports them with ``-I tests.runtime.limited``."""

from __future__ import annotations

import asyncio
import time

from billiard.exceptions import SoftTimeLimitExceeded

from agentq import Context, step
from tests.support import gates


@step(timeout=0.5, retries=0)
def save_in_time(folder: str) -> None:
    """Run into the soft limit, and save."""
    try:
        time.sleep(20)
    except SoftTimeLimitExceeded:
        time.sleep(0.2)
        gates.note(folder, "saved")
        raise


@step(timeout=0.5, retries=0)
async def save_in_time_too(folder: str) -> None:
    """Run into the soft limit as a coroutine, and save."""
    try:
        await asyncio.sleep(20)
    except asyncio.CancelledError:
        await asyncio.sleep(0.2)
        gates.note(folder, "saved")
        raise


@step(timeout=0.5, hard_timeout=1, retries=0)
async def block(seconds: float) -> str:
    """Keep the event loop from everybody else."""
    time.sleep(seconds)
    return "done"


@step(hard_timeout=1, retries=0)
async def wait(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "done"


@step(timeout=30, retries=0)
def look_at_the_clock(ctx: Context) -> bool:
    """Say whether there was a deadline to look at."""
    return ctx.deadline is not None
