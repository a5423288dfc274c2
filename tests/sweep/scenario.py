"""The workflows: chain, fan-out, fan-in, each, retry, cancel, revoke, expiry, dead letters, events and more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from celery import Signature, group

from agentq import each, sleep
from agentq.states import WorkflowStatus
from tests.sweep import world
from tests.sweep.steps import (
    GOAL,
    ITEMS,
    TICK,
    advance,
    alone,
    both,
    calling,
    cancel_all,
    combine,
    cooled,
    costly,
    count_to,
    double,
    fragile,
    gather,
    gone,
    kept,
    largest,
    limited,
    metered,
    named,
    narrate,
    never,
    order,
    other,
    paced,
    pay,
    revoke_itself,
    single,
    strict,
    stuck,
    total,
    turned_away,
    whole,
    withdrawn,
)


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
        max_open: how many workflows may be open; the client postpones the others.
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
        "call": metered.s(),
        "refused call": turned_away.s(),
    },
    ends={
        "one by one": (_SUCCEEDED, "late"),
        "beside it": (_SUCCEEDED, "beside it"),
        "dear": (_SUCCEEDED, "first"),
        "dear too": (_SUCCEEDED, "second"),
        "call": (_SUCCEEDED, "metered"),
        "refused call": (_SUCCEEDED, "turned away"),
    },
    outcomes={"succeeded", "retried"},
    effects={"paced early", "paced late", "paced beside it", "costly first", "costly second"}
    | {"metered", "turned_away"},
    costs=1,  # as of the limits
)
POSTPONED = Scenario(
    canvases={
        "first": alone.s("first"),
        "second": count_to.s(ITEMS) | each(double.s()) | largest.s(),
        "lost": group(never.s().set(expires=0.01)) | whole.s().set(needs=0),
        "third": alone.s("third"),
    },
    ends={
        "first": (_SUCCEEDED, "first"),
        "second": (_SUCCEEDED, 2),
        "lost": (_SUCCEEDED, ", without [0]"),
        "third": (_SUCCEEDED, "third"),
    },
    outcomes={"succeeded"},
    effects={"alone first", "alone third", "count_to", "double 0", "double 1", "largest", "whole"},
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
_ticked = f"{TICK:%Y-%m-%dT%H:%M:%SZ}"
TICKS = Scenario(
    canvases={"beside it": alone.s("beside it")},
    ends={
        "beside it": (_SUCCEEDED, "beside it"),
        "former": (_CANCELLED, None),
        f"schedule:yearly:{_ticked}": (_SUCCEEDED, "ticked"),
        f"schedule:owing:{_ticked}": (_SUCCEEDED, 2),
    },
    outcomes={"succeeded"},
    effects={"alone beside it", "alone ticked", "count_to", "double 0", "double 1", "largest"},
    seed="ticks",
)
_WHILE = 0.01
SLEEPING = Scenario(
    canvases={
        "first": sleep(seconds=_WHILE) | alone.s("first"),
        "branches": count_to.s(ITEMS)
        | sleep(seconds=_WHILE)
        | each(sleep(seconds=_WHILE) | double.s() | sleep(seconds=_WHILE))
        | largest.s(),
        "last": alone.s("last") | sleep(seconds=_WHILE),
    },
    ends={
        "first": (_SUCCEEDED, "first"),
        "branches": (_SUCCEEDED, 2),
        "last": (_SUCCEEDED, "last"),
    },
    outcomes={"succeeded"},
    effects={"alone first", "alone last", "count_to", "double 0", "double 1", "largest"},
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
    "postponed": POSTPONED,
    "naming": NAMING,
    "ticks": TICKS,
    "sleeping": SLEEPING,
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
