"""The workflows: chain, fan-out, fan-in, each, retry, cancel, revoke, expiry, dead letters, events and more."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from celery import Signature, group
from sqlalchemy.orm import Session

import agentq
from agentq import Cancel, Concurrency, Context, Cooldown, DeadLetterNow, Rate, Tokens, each, step
from agentq.operations.schemas import DeadLetter
from agentq.states import WorkflowStatus
from tests.sweep import world
from tests.sweep.diary import Diary
from tests.sweep.points import Points
from tests.sweep.receipts import write_receipt

TENANT = "swept"
ITEMS = 2
GOAL = 3
"""As far as ``advance`` comes."""
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
    """Be refused the first time, wait in the line of the limit that cools, and be admitted again."""
    effect(ctx)
    if ctx.attempt == 1:
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


@dataclass(frozen=True)
class Scenario:
    """Workflows to be run to their ends, and what must be so then.

    Attributes:
        canvases: what the client starts, by key.
        ends: how every workflow must end, by key, and with which result.
        outcomes: how attempts must have ended in a run without a crash, or it does not show what it is for.
        effects: what must have been done to the world in the end.
        may_happen: what may have been done, where a cancel comes late; and nothing else.
        seed: what is in the ledger before the client comes, a name in ``seeds.SEEDS``.
        costs: how many attempts a crash may cost beside the one that it interrupts.
        max_open: how many workflows may be open; the client defers the others.
    """

    canvases: dict[str, Signature]
    ends: dict[str, tuple[WorkflowStatus, object]]
    outcomes: set[str]
    effects: set[str]
    may_happen: frozenset[str] = frozenset()
    seed: str = ""
    costs: int = 0
    max_open: int | None = None


_SUCCEEDED, _CANCELLED = WorkflowStatus.SUCCEEDED, WorkflowStatus.CANCELLED

CLOSED = "closed"
"""The queue that no worker consumes; the operator moves what waits there."""
DESERTED = "deserted"
"""A queue that no worker consumes; the operator moves what waits there once its slots were taken back."""
PAUSED = "fourth"
"""The limit that the operator pauses and resumes."""
FORGOTTEN = "forgotten"
"""The workflow of which the broker loses the message."""

REFERENCE = Scenario(
    canvases={
        FORGOTTEN: alone.s("forgotten"),
        "main": count_to.s(ITEMS) | each(double.s()) | group(largest.s(), total.s()) | combine.s(),
        "dead": fragile.s("in the step") | alone.s(),
        "cancelled": group(cancel_all.s(), alone.s("beside it")) | never.si(),
    },
    ends={
        FORGOTTEN: (_SUCCEEDED, "forgotten"),
        "main": (_SUCCEEDED, "largest 2, total 2"),
        "dead": (_SUCCEEDED, "in the step"),
        "cancelled": (_CANCELLED, None),
        "held": (_SUCCEEDED, "held"),
        "poisonous": (_SUCCEEDED, "by its worker"),
        "late": (_CANCELLED, None),
    },
    outcomes={"succeeded", "retried", "failed", "lost", "cancelled"},
    effects={
        *("count_to", "double 0", "double 1", "largest", "total", "combine"),
        *("fragile in the step", "alone in the step", "fragile by its worker"),
        *("alone forgotten", "alone held", "cancel_all"),
    },
    may_happen=frozenset({"alone beside it"}),
    seed="lost",
)
PARTS = Scenario(
    canvases={
        "partial": group(gone.s(), withdrawn.s(), limited.s()) | whole.s().set(needs=1),
        "hurried": group(alone.s("in time"), never.s().set(countdown=world.FAR)) | whole.s().set(within=60),
        "by hand": stuck.s("it") | alone.s(),
    },
    ends={
        "partial": (_SUCCEEDED, "limited, without [0, 1]"),
        "hurried": (_SUCCEEDED, "in time, without [1]"),
        "by hand": (_SUCCEEDED, "done by hand"),
    },
    outcomes={"succeeded", "retried", "failed", "cancelled"},
    effects={"gone", "withdrawn", "limited", "whole limited", "alone in time", "whole in time"}
    | {"stuck", "alone done by hand"},
)
_LATE: dict[str, Any] = {"countdown": world.FAR}
_NEEDS: dict[str, Any] = {"needs": "all", "within": 60}
LACKING = Scenario(
    canvases={
        "again": group(alone.s("here"), count_to.s(ITEMS).set(**_LATE) | each(double.s()) | largest.s())
        | gather.s().set(**_NEEDS),
        "short": group(alone.s("enough"), never.s().set(**_LATE)) | gather.s().set(**_NEEDS),
        "in vain": group(alone.s("in vain"), never.s().set(**_LATE)) | gather.s().set(**_NEEDS),
    },
    ends={
        "again": (_SUCCEEDED, "['here', 2], without []"),
        "short": (_SUCCEEDED, "['enough'], without [1]"),
        "in vain": (WorkflowStatus.FAILED, None),
    },
    outcomes={"succeeded"},
    effects={"alone here", "count_to", "double 0", "double 1", "largest", "gather here 2"}
    | {"alone enough", "gather enough", "alone in vain"},
)
WRITERS = Scenario(
    canvases={
        "narrated": narrate.s(),
        "advanced": advance.s() | pay.s(),
        "ordering": order.s(),
    },
    ends={
        "narrated": (_SUCCEEDED, "narrated"),
        "advanced": (_SUCCEEDED, f"paid {GOAL}"),
        "ordering": (_SUCCEEDED, "ordered"),
        "ordered": (_SUCCEEDED, "ordered"),
    },
    outcomes={"succeeded", "retried"},
    effects={"narrate", "advance", "pay", "order", "alone ordered"},
)
MOVES = Scenario(
    canvases={"moved": count_to.s(2).set(queue=CLOSED) | largest.s().set(queue=CLOSED)},
    ends={"moved": (_SUCCEEDED, 1)},
    outcomes={"succeeded"},
    effects={"count_to", "largest"},
)
ASIDE = Scenario(
    canvases={"revoked": revoke_itself.s() | never.si()},
    ends={"revoked": (_CANCELLED, None), "left": (_SUCCEEDED, 1)},
    outcomes={"succeeded", "retried", "released", "failed"},
    effects={"revoke_itself", "strict 1"},
    seed="older",
    costs=1,  # a loss begins the time anew for which arguments that do not fit are left
)
LIMITS = Scenario(
    canvases={
        "in turn": single.s("early") | single.si("late"),
        "together": both.s(),
        "beside it": other.s(),
        "refused": cooled.s(),
        "many": count_to.s(ITEMS) | each(single.s()) | largest.s(),
        "deserted": kept.s("deserted").set(queue=DESERTED),
        "behind it": kept.s("behind it"),
        "calls": calling.s(),
    },
    ends={
        "calls": (_SUCCEEDED, "calling"),
        "in turn": (_SUCCEEDED, "late"),
        "together": (_SUCCEEDED, "both"),
        "beside it": (_SUCCEEDED, "other"),
        "refused": (_SUCCEEDED, "cooled"),
        "many": (_SUCCEEDED, 1),
        "deserted": (_SUCCEEDED, "deserted"),
        "behind it": (_SUCCEEDED, "behind it"),
    },
    outcomes={"succeeded", "retried"},
    effects={
        "kept deserted",
        "kept behind it",
        "cooled",
        "calling",
        "single early",
        "single late",
        "both",
        "other",
    }
    | {"count_to", "single 0", "single 1", "largest"},
    costs=1,  # the slot of a lost call is free a little later: until then its job stands in the line
)
RATES = Scenario(
    canvases={
        "one by one": paced.s("early") | paced.si("late"),
        "beside it": paced.s("beside it"),
        "dear": costly.s("first"),
        "dear too": costly.s("second"),
    },
    ends={
        "one by one": (_SUCCEEDED, "late"),
        "beside it": (_SUCCEEDED, "beside it"),
        "dear": (_SUCCEEDED, "first"),
        "dear too": (_SUCCEEDED, "second"),
    },
    outcomes={"succeeded", "retried"},
    effects={"paced early", "paced late", "paced beside it", "costly first", "costly second"},
)
DEFERRED = Scenario(
    canvases={
        "first": alone.s("first"),
        "second": count_to.s(ITEMS) | each(double.s()) | largest.s(),
        "third": alone.s("third"),
    },
    ends={"first": (_SUCCEEDED, "first"), "second": (_SUCCEEDED, 2), "third": (_SUCCEEDED, "third")},
    outcomes={"succeeded"},
    effects={"alone first", "alone third", "count_to", "double 0", "double 1", "largest"},
    max_open=1,
)
NAMING = Scenario(
    canvases={
        "after another": alone.s("named") | named.s(),
        "free": alone.s("free") | named.s(),
        "items": count_to.s(ITEMS) | each(named.s() | double.s()) | largest.s(),
    },
    ends={
        "after another": (_SUCCEEDED, "named"),
        "free": (_SUCCEEDED, "free"),
        "items": (_SUCCEEDED, 2),
    },
    outcomes={"succeeded"},
    effects={"alone named", "named named", "alone free", "named free"}
    | {"count_to", "named 0", "named 1", "double 0", "double 1", "largest"},
)
SCENARIOS = {
    "reference": REFERENCE,
    "parts": PARTS,
    "lacking": LACKING,
    "writers": WRITERS,
    "moves": MOVES,
    "aside": ASIDE,
    "limits": LIMITS,
    "rates": RATES,
    "deferred": DEFERRED,
    "naming": NAMING,
}
"""Swept one by one: together they would cost the square of it."""

GIVEN_UP = {gone.name, "in vain"}
"""The steps and the keys of workflows whose dead letters the operator cancels."""
BY_HAND = {stuck.name}
"""The steps whose dead letters the operator takes on, edits and resolves."""
SHORT = {"short"}
"""The workflows whose fan-ins the operator lets go on with what is there."""
MISFITS = {strict.name}
"""The steps whose arguments the operator edits before the replay."""
PAID = {pay.name, order.name}
"""The steps that write a receipt with their completion."""
