"""The steps that the sweep runs, and their way to the world."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any

from sqlalchemy.orm import Session

import agentq
from agentq import Cancel, Concurrency, Context, Cooldown, DeadLetterNow, Rate, Tokens, step
from agentq.operations.schemas import DeadLetter
from tests.sweep.diary import Diary
from tests.sweep.points import Points
from tests.sweep.receipts import write_receipt

TENANT = "swept"
ITEMS = 2
GOAL = 3
"""As far as ``advance`` comes."""
TICK = datetime(datetime.now(UTC).year, 1, 1, tzinfo=UTC)
"""The last tick of a schedule of each year."""
TOLD = ("begun", "drafted", "ended")
"""The events of ``narrate``."""


class Stage:
    """The way of the run's steps to the world."""

    diary: Diary
    points: Points


def effect(ctx: Context, *details: object) -> None:
    """Do something to the world that should carry the job's idempotency key."""
    what = " ".join([ctx.step.rpartition(".")[2], *map(str, details)])
    with Stage.points.around(lambda: f"effect of {what}"):
        Stage.diary.add_effect(what, ctx.idempotency_key, ctx.attempt)


@step
def count_to(ctx: Context, count: int) -> list[int]:
    effect(ctx)
    return list(range(count))


@step
def double(ctx: Context, number: int) -> int:
    effect(ctx, number)
    return 2 * number


@step
def largest(ctx: Context, numbers: list[int]) -> int:
    effect(ctx)
    return max(numbers)


@step
def total(ctx: Context, numbers: list[int]) -> int:
    """Fail the first time, after its effect."""
    effect(ctx)
    if ctx.attempt == 1:
        raise ConnectionError("not yet")
    return sum(numbers)


@step
def combine(ctx: Context, numbers: list[int]) -> str:
    effect(ctx)
    return f"largest {numbers[0]}, total {numbers[1]}"


@step
def alone(ctx: Context, which: str) -> str:
    effect(ctx, which)
    return which


@step
def cancel_all(ctx: Context) -> None:
    """Cancel its own workflow while it runs."""
    effect(ctx)
    agentq.workflow(ctx.workflow_id).cancel("as planned", actor="ann")


@step(retries=0)
def fragile(ctx: Context, which: str) -> str:
    """Fail for good, until a person has fixed it."""
    effect(ctx, which)
    if not Stage.diary.is_fixed():
        raise ValueError("broken")
    return which


@agentq.on_dead_letter
def page_operator(letter: DeadLetter) -> None:
    with Stage.points.around(lambda: f"effect of the handler of {letter.step}"):
        Stage.diary.add_handled(str(letter.id))


@step
def revoke_itself(ctx: Context) -> None:
    """Revoke its own job while it runs, and fail."""
    effect(ctx)
    agentq.current().app.control.revoke(ctx.job_id)
    raise ConnectionError("it would be tried again")


@step
def strict(ctx: Context, number: int) -> int:
    effect(ctx, number)
    return number


@step
def never(ctx: Context) -> None:
    effect(ctx)


class RateLimitError(Exception):
    """As a provider's client raises it."""

    retry_after = 30.0


@step
def limited(ctx: Context) -> str:
    """Meet a rate limit the first time."""
    effect(ctx)
    if ctx.attempt == 1:
        raise RateLimitError("too many requests")
    return "limited"


@step
def gone(ctx: Context) -> str:
    effect(ctx)
    raise DeadLetterNow("beyond repair")


@step
def stuck(ctx: Context, which: str) -> str:
    effect(ctx)
    raise ValueError(f"{which} cannot be done by a program")


@step
def withdrawn(ctx: Context) -> str:
    effect(ctx)
    raise Cancel("taken back")


@step
def whole(ctx: Context, parts: list[str]) -> str:
    effect(ctx, *parts)
    return f"{', '.join(parts)}, without {[part.position for part in ctx.missing]}"


@step
def gather(ctx: Context, parts: list[Any]) -> str:
    effect(ctx, *parts)
    return f"{parts}, without {[part.position for part in ctx.missing]}"


@step
def narrate(ctx: Context) -> str:
    """Emit events before its effect and after it."""
    ctx.emit("begun")
    ctx.emit("drafted")
    effect(ctx)
    ctx.emit("ended")
    return "narrated"


@step
def advance(ctx: Context) -> int:
    """Report its progress before its effect and after it."""
    ctx.progress(1, GOAL)
    effect(ctx)
    ctx.progress(2, GOAL)
    ctx.progress(GOAL, GOAL)
    return GOAL


@step
def pay(ctx: Context, what: object) -> str:
    """Write a receipt with the completion; the first time fail after it was written."""
    effect(ctx)

    def write(session: Session) -> None:
        write_receipt(ctx, session)
        if ctx.attempt == 1:
            raise ConnectionError("not yet")

    ctx.on_complete(write)
    return f"paid {what}"


@step
def order(ctx: Context) -> str:
    """Start a workflow with the completion, and write a receipt."""
    effect(ctx)
    ctx.on_complete(lambda session: agentq.start(alone.s("ordered"), key="ordered", session=session))
    ctx.on_complete(partial(write_receipt, ctx))
    return "ordered"


@step(limits=[Concurrency("first", limit=1)])
def single(ctx: Context, which: object) -> object:
    effect(ctx, which)
    return which


@step(limits=[Concurrency("second", limit=1)])
def other(ctx: Context) -> str:
    effect(ctx)
    return "other"


class Refused(Exception):
    """The answer of a provider that refuses a call."""

    status_code = 429
    headers = {"retry-after": "0"}  # so that no time decides what the next statement is


@step(limits=[Concurrency("first", limit=1), Concurrency("third", limit=2), Cooldown("third")])
def cooled(ctx: Context) -> str:
    """Be refused the first time, in the job's own slot and after it, wait in the line, and be admitted again."""
    effect(ctx)
    if ctx.attempt == 1:
        with suppress(Refused), ctx.limit("third", wait=0):
            raise Refused("slow down")
        raise Refused("slow down")
    return "cooled"


@step(limits=[Concurrency("first", limit=1), Concurrency("second", limit=1)])
def both(ctx: Context) -> str:
    """Hold two slots, give them back after a failure, and take them again."""
    effect(ctx)
    if ctx.attempt == 1:
        raise ConnectionError("not yet")
    return "both"


@step(limits=[Concurrency("fourth", limit=1)])
def kept(ctx: Context, which: str) -> str:
    effect(ctx, which)
    return which


_NEVER_WAITED_FOR: dict[str, Any] = {"limit": 2_000_000, "per": 60, "burst": 1_000_000}
"""A rate that holds no start back: each run has to take the same way."""


@step(limits=[Rate("starts", **_NEVER_WAITED_FOR)])
def paced(ctx: Context, which: object) -> object:
    effect(ctx, which)
    return which


@step(
    limits=[
        Concurrency("dear", limit=1),
        Rate("dear", **_NEVER_WAITED_FOR),
        Tokens("dear", estimate=10, **_NEVER_WAITED_FOR),
    ]
)
def costly(ctx: Context, which: str) -> str:
    """Use more tokens than expected, and fail, and then fewer."""
    effect(ctx, which)
    ctx.used(tokens=30 if ctx.attempt == 1 else 1)
    if ctx.attempt == 1:
        raise ConnectionError("not yet")
    return which


@step(limits=[Concurrency("fifth", limit=1, key=lambda which: None if which == "free" else "one")])
def named(ctx: Context, which: object) -> object:
    """Have a limit that only what the step before gives can name, or none."""
    effect(ctx, which)
    return which


@step(limits=[Concurrency("swept", limit=1, key="whole")])
def calling(ctx: Context, whole: str | None = None) -> str:
    """Hold a slot for a part of the step."""
    with ctx.limit("swept:part", wait=0):  # one thread runs steps and the caretaker here
        effect(ctx)
    return "calling"


@step(
    limits=[
        Rate("metered", key="whole", **_NEVER_WAITED_FOR),
        Tokens("metered", key="whole", estimate=10, **_NEVER_WAITED_FOR),
        Cooldown("metered", key="whole"),
    ]
)
def metered(ctx: Context, whole: str | None = None) -> str:
    """Pay for a call inside the step, which uses more tokens than expected."""
    with ctx.limit("metered:part", tokens=10, wait=0) as call:
        effect(ctx)
        call.used(tokens=30)
    return "metered"


@step
def turned_away(ctx: Context) -> str:
    """Pay for a call that is refused, which closes its limit, and for another one, which opens it by degrees."""
    with suppress(Refused), ctx.limit("metered:other", tokens=10, wait=0):
        if ctx.attempt == 1:
            raise Refused("slow down")
    with ctx.limit("metered:other", tokens=10, wait=0) as call:
        effect(ctx)
        call.used(tokens=1)
    return "turned away"
