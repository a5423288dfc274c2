"""The steps of the workflows: little work, and a line in a file for every run."""

from __future__ import annotations

import asyncio
import os
import time
import zlib
from contextlib import suppress
from pathlib import Path

from agentq import Concurrency, Context, Cooldown, Rate, Tokens, step

FOLDER = "SOAK_FOLDER"
"""The environment variable that says where the traces are left."""

MODEL, GPU = "model", "gpu"
MODEL_SLOTS, GPU_SLOTS = 3, 2
MODELS = ("large", "small")
PROVIDER = "provider"
PROVIDER_SLOTS = 4
STARTS, PER, BURST = 20, 5.0, 3
"""The starts of a period that the provider allows, its seconds, and the starts at once."""
TOKENS = 3_000
"""Tokens of the same period."""
_ENOUGH = 30
"""Retries of steps that only chaos makes fail: nobody is that unlucky."""
_LONGEST_HOLD = 120.0


class Refused(Exception):
    """A call that a provider refused for now."""

    status_code = 429


def do(ctx: Context) -> None:
    """Leave a trace, which a re-run repeats."""
    trace = os.open(_folder() / "effects", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(trace, f"{ctx.job_id} {ctx.attempt}\n".encode())  # one short line: appended as a whole
    finally:
        os.close(trace)


def seconds(ctx: Context) -> float:
    """The step's time: mostly some hundredths of a second, one in twenty over one second."""
    chance = zlib.crc32(ctx.job_id.encode())
    return 1.0 + chance % 1000 / 1000 if chance % 20 == 0 else chance % 100 / 1000


@step(retries=_ENOUGH)
def increase(ctx: Context, number: int) -> int:
    do(ctx)
    time.sleep(seconds(ctx))
    return number + 1


@step(retries=_ENOUGH)
def numbers(ctx: Context, count: int) -> list[int]:
    do(ctx)
    return list(range(count))


@step(retries=_ENOUGH)
async def square(ctx: Context, number: int) -> int:
    do(ctx)
    await asyncio.sleep(seconds(ctx))
    return number * number


@step(retries=_ENOUGH)
def total(ctx: Context, addends: list[int]) -> int:
    do(ctx)
    return sum(addends)


@step(retries=_ENOUGH)
def flaky(ctx: Context, number: int) -> int:
    """Fail once."""
    if ctx.attempt == 1:
        raise ConnectionError("not yet")
    do(ctx)
    time.sleep(seconds(ctx))
    return number


@step(retries=0)
def fragile(ctx: Context, number: int) -> int:
    """Fail for good, until a person has fixed its workflow."""
    if not (_folder() / "fixed" / ctx.workflow_id).exists():
        raise ValueError("broken")
    do(ctx)
    time.sleep(seconds(ctx))
    return number


@step(retries=_ENOUGH)
def hold(ctx: Context, number: int) -> int:
    """Run until it is cancelled."""
    do(ctx)
    deadline = time.monotonic() + _LONGEST_HOLD
    while not ctx.cancelled and time.monotonic() < deadline:
        time.sleep(0.1)
    return number


@step(retries=_ENOUGH, limits=[Concurrency(MODEL, key=MODEL, limit=MODEL_SLOTS)])
def ask(ctx: Context, number: int, model: str) -> int:
    """Need a slot of one limit."""
    do(ctx)
    time.sleep(seconds(ctx))
    return number


@step(
    retries=_ENOUGH,
    limits=[Concurrency(GPU, limit=GPU_SLOTS), Concurrency(MODEL, key=MODEL, limit=MODEL_SLOTS)],
)
def draw(ctx: Context, number: int, model: str) -> int:
    """Need slots of two limits, and fail once."""
    if ctx.attempt == 1:
        raise ConnectionError("not yet")
    do(ctx)
    time.sleep(seconds(ctx))
    return number


@step(
    retries=_ENOUGH,
    limits=[
        Concurrency(PROVIDER, limit=PROVIDER_SLOTS),
        Rate(PROVIDER, limit=STARTS, per=PER, burst=BURST),
        Tokens(PROVIDER, limit=TOKENS, per=PER, estimate="tokens"),
        Cooldown(PROVIDER),
    ],
)
def call(ctx: Context, number: int, tokens: int) -> int:
    """Start at its time, use other tokens than it has reserved, and be refused now and then."""
    with suppress(FileNotFoundError):
        _refusal().unlink()  # by one of those that run
        raise Refused("slow down")
    do(ctx)
    time.sleep(seconds(ctx))
    ctx.used(tokens=tokens * (50 + zlib.crc32(ctx.job_id.encode()) % 100) // 100)
    return number


def refuse_one() -> None:
    """Let the provider refuse the next call."""
    _refusal().touch()


def fix(workflow_id: str) -> None:
    """Let the fragile step of a workflow succeed from now on."""
    folder = _folder() / "fixed"
    folder.mkdir(exist_ok=True)
    (folder / workflow_id).touch()


def _refusal() -> Path:
    return _folder() / "refuse"


def _folder() -> Path:
    return Path(os.environ[FOLDER])
