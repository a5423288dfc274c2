"""The canvases that the machine starts, each with the result that it must have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from celery import Signature, chord, group

from agentq import each, step
from tests.support.steps import add, echo, numbers, plain, total


@step(retries=0)
def only_once(x: int) -> int:
    """A step that may be tried once."""
    return x


@step(retries=1)
def twice_at_most(x: int) -> int:
    """A step that may be tried twice."""
    return x


class Labelled:
    """Prints itself as its ``repr`` in the story of a failure."""

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(repr(self))


@step(retries=1, deadline=3600)
def in_time(x: int) -> int:
    """A step that must be done within an hour of its first attempt."""
    return x


@dataclass(frozen=True)
class Shape(Labelled):
    """A canvas for every small number, and its result; None where it must fail."""

    name: str
    canvas: Callable[[int], Signature]
    result: Callable[[int], Any] | None

    def __repr__(self) -> str:
        return f"<{self.name}>"


def _elsewhere(x: int, y: int) -> Signature:
    return add.s(x, y).set(queue="other")


def _nested(n: int) -> Signature:
    branches = group(
        numbers.s(n) | each(add.s(10) | only_once.s()) | total.s(),
        chord([add.s(n, 1), add.s(n, 2)], total.s()),
        twice_at_most.s(n),
    )
    return branches | total.s()


SHAPES: tuple[Shape, ...] = (
    Shape("one", lambda n: twice_at_most.s(n), lambda n: n),
    Shape("chain", lambda n: add.s(n, 1) | only_once.s() | add.s(100), lambda n: n + 101),
    Shape("tasks", lambda n: plain.s(n) | plain.s() | add.s(1), lambda n: n + 1),
    Shape("immutable", lambda n: add.s(n, 1) | add.si(n, 2), lambda n: n + 2),
    Shape("group", lambda n: group(add.s(n, 1), _elsewhere(n, 2), add.s(n, 3)), lambda n: [n + 1, n + 2, n + 3]),
    Shape("chord", lambda n: chord([add.s(n, 1), _elsewhere(n, 2)], total.s()), lambda n: 2 * n + 3),
    Shape("linked", lambda n: add.s(n, 1).set(link=add.s(5)) | add.s(7), lambda n: n + 8),
    Shape("each", lambda n: numbers.s(n) | each(add.s(10)), lambda n: list(range(10, 10 + n))),
    Shape("each of nothing", lambda n: numbers.s(0) | each(add.s(n)) | total.s(), lambda n: 0),
    Shape(
        "each of groups",
        lambda n: numbers.s(n) | each(group(add.s(1), add.s(2)) | total.s()) | total.s(),
        lambda n: sum(2 * item + 3 for item in range(n)),
    ),
    Shape(
        "each of each",
        lambda n: group(numbers.s(n), numbers.s(1)) | each(each(add.s(1))),
        lambda n: [list(range(1, n + 1)), [1]],
    ),
    Shape("each of no list", lambda n: echo.s(n) | each(add.s(1)) | total.s(), None),
    Shape("nested", _nested, lambda n: sum(range(10, 10 + n)) + 2 * n + 3 + n),
    Shape(
        "delayed",
        lambda n: add.s(n, 1).set(countdown=600) | add.s(1).set(countdown=600) | only_once.s(),
        lambda n: n + 2,
    ),
    Shape(
        "expiring",
        lambda n: group(add.s(n, 1).set(expires=3600), only_once.s(n)) | total.s().set(expires=3600),
        lambda n: 2 * n + 1,
    ),
    Shape("in time", lambda n: group(in_time.s(n), in_time.s(1)) | total.s() | in_time.s(), lambda n: n + 1),
    Shape(
        "delayed and expiring",
        lambda n: group(add.s(n, 1).set(countdown=600, expires=3600), add.s(n, 2)) | total.s(),
        lambda n: 2 * n + 3,
    ),
)
