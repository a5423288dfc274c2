"""The shapes of workflows that are started, and how each must end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from celery import chain, group

from agentq import each
from agentq.states import WorkflowStatus
from soaking.steps import MODELS, ask, call, draw, flaky, fragile, hold, increase, numbers, square, total

FAN, ITEMS = 10, 8
ASKED = 4
"""Calls of a limited workflow, beside one that needs two limits."""
CALLS = 4
"""Calls of a provider that allows few in a time."""


@dataclass(frozen=True)
class Shape:
    """One kind of workflow; what it computes depends on the number that it is started with."""

    weight: int
    """The share of all starts that are of this shape."""
    canvas: Callable[[int], Any]
    steps: int
    """The number of its steps when it is done."""
    result: Callable[[int], int | None]
    status: WorkflowStatus = WorkflowStatus.SUCCEEDED


SHAPES = {
    "chain": Shape(5, lambda n: chain(increase.s(n), *(increase.s() for _ in range(4))), 5, lambda n: n + 5),
    "fan": Shape(
        2,
        lambda n: group(increase.s(n) for _ in range(FAN)) | total.s(),
        FAN + 1,
        lambda n: FAN * (n + 1),
    ),
    "each": Shape(
        2,
        lambda n: numbers.s(ITEMS) | each(square.s()) | total.s() | increase.s(),
        ITEMS + 3,
        lambda n: sum(item * item for item in range(ITEMS)) + 1,
    ),
    "retried": Shape(3, lambda n: flaky.s(n) | increase.s(), 2, lambda n: n + 1),
    "replayed": Shape(2, lambda n: fragile.s(n) | increase.s(), 2, lambda n: n + 1),
    "cancelled": Shape(1, lambda n: hold.s(n) | increase.s(), 2, lambda n: None, WorkflowStatus.CANCELLED),
    # These two are a third of all.
    "paced": Shape(
        3,
        lambda n: group(call.s(n, 50 + n % 100) for _ in range(CALLS)) | total.s() | increase.s(),
        CALLS + 2,
        lambda n: CALLS * n + 1,
    ),
    "limited": Shape(
        7,
        lambda n: (
            group(*(ask.s(n, MODELS[m % 2]) for m in range(ASKED)), draw.s(n, MODELS[n % 2]))
            | total.s()
            | increase.s()
        ),
        ASKED + 3,
        lambda n: (ASKED + 1) * n + 1,
    ),
    "repeated": Shape(3, lambda n: increase.s(n) | increase.s(), 2, lambda n: n + 2),
}
"""By name. The client replays what is dead of one, cancels one, and starts one again and again under its key."""
