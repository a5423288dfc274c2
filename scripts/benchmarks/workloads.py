"""The workloads: each does some work on one side, checks the results, and says how long it took.

To add one, write a function of a side and put ``@workload`` before it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import quantiles
from typing import Any, Protocol

from celery import chain, group

Figures = dict[str, float]
"""Seconds by what was measured."""


class Side(Protocol):
    """What the modules ``bare`` and ``durable`` have in common."""

    echo: Any
    increase: Any
    total: Any

    def start(self, canvas: Any) -> Any: ...
    def collect(self, started: Any) -> Any: ...
    def each_of(self, count: int) -> Any: ...


@dataclass(frozen=True)
class Workload:
    key: str
    title: str
    measure: Callable[[Any], Figures]


WORKLOADS: dict[str, Workload] = {}


def workload(key: str, title: str) -> Callable[[Callable[[Any], Figures]], Callable[[Any], Figures]]:
    """Register a workload under the letter that ``--only`` takes."""

    def register(measure: Callable[[Any], Figures]) -> Callable[[Any], Figures]:
        WORKLOADS[key] = Workload(key, title, measure)
        return measure

    return register


def timed(work: Callable[[], Any], expected: Any) -> Figures:
    """Time *work*; raises AssertionError where it does not return what is expected."""
    began = time.perf_counter()
    found = work()
    seconds = time.perf_counter() - began
    assert found == expected, f"expected {expected!r:.80}, found {found!r:.80}"
    return {"total": seconds}


@workload("a", "1,000 of one step, started one by one")
def singles(side: Side) -> Figures:
    def work() -> list[int]:
        started = [side.echo.delay(number) for number in range(1000)]
        return [side.collect(one) for one in started]

    return timed(work, list(range(1000)))


@workload("c", "a chain of 100")
def one_chain(side: Side) -> Figures:
    return timed(lambda: side.collect(side.start(_chain_of(side, 100))), 100)


@workload("d", "20 chains of 10 at once")
def chains(side: Side) -> Figures:
    def work() -> list[int]:
        started = [side.start(_chain_of(side, 10)) for _ in range(20)]
        return [side.collect(one) for one in started]

    return timed(work, [10] * 20)


@workload("e", "a fan of 500 with a fan-in")
def fan(side: Side) -> Figures:
    def canvas() -> Any:
        return group(side.echo.s(number) for number in range(500)) | side.total.s()

    return timed(lambda: side.collect(side.start(canvas())), sum(range(500)))


@workload("f", "each over 10,000 items")
def wide_each(side: Side) -> Figures:
    return timed(lambda: side.collect(side.start(side.each_of(10_000))), sum(range(10_000)))


@workload("g", "one step, one after the other, 200 times")
def latency(side: Side) -> Figures:
    seconds = [timed(lambda: side.collect(side.echo.delay(7)), 7)["total"] for _ in range(200)]
    cuts = quantiles(seconds, n=100)
    return {"p50": cuts[49], "p95": cuts[94]}


def _chain_of(side: Side, length: int) -> Any:
    return chain(side.increase.s(0), *(side.increase.s() for _ in range(length - 1)))
