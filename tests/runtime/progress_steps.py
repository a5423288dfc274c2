"""Steps that report their progress."""

from __future__ import annotations

import asyncio

from agentq import Context, Policy, rule, step
from agentq.policies import Fixed


@step
def tell_three(ctx: Context) -> str:
    """Report three things; the progress between them is overtaken by the next."""
    ctx.progress(0, 3, "begins")
    for number in range(1, 4):
        ctx.emit("draft", {"number": number})
        ctx.progress(number, 3, f"draft {number}")
    return "reported"


@step
async def tell_async(ctx: Context) -> str:
    ctx.progress(1, 2)
    await asyncio.sleep(0)
    ctx.emit("half")
    return "reported"


@step(retry=Policy(otherwise=rule("retry", schedule=Fixed(0.1)), name="prompt"))
def tell_and_fail_once(ctx: Context) -> int:
    ctx.emit("tried", ctx.attempt)
    if ctx.attempt == 1:
        raise ConnectionError("not yet")
    return ctx.attempt


@step
def tell_much(ctx: Context, count: int) -> int:
    for number in range(count):
        ctx.emit("number", number)
        ctx.progress(number, count)
    return count
