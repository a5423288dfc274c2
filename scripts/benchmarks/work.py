"""A client's work: start it on one side, wait for the results, check them, and measure the time."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from statistics import quantiles
from typing import Any, Protocol

from celery import chain, group

Figures = dict[str, float]
"""Seconds, or bytes, by what was measured."""
TOTAL = "total"
"""The name of what is measured where that is one thing."""
AT_BEST = ", at best"
"""The end of the name of a figure that is what another one could be at best."""


class Side(Protocol):
    """The interface that the modules ``bare`` and ``durable`` share."""

    app: Any
    echo: Any
    increase: Any
    total: Any
    wait: Any

    def start(self, canvas: Any) -> Any: ...
    def start_many(self, canvases: Any) -> Any: ...
    def collect(self, started: Any) -> Any: ...
    def collect_many(self, started: Any) -> Any: ...
    def each_of(self, count: int) -> Any: ...


Work = Callable[[Any, int], Figures]
"""Does work of a size on a side."""


def timed(work: Callable[[], Any], expected: Any) -> Figures:
    """Time *work*; raises AssertionError where it does not return what is expected."""
    began = time.perf_counter()
    found = work()
    seconds = time.perf_counter() - began
    assert found == expected, f"expected {expected!r:.80}, found {found!r:.80}"
    return {TOTAL: seconds}


def percentiles(seconds: Sequence[float]) -> Figures:
    """Return the median, and what nineteen of twenty are below."""
    cuts = quantiles(seconds, n=100)
    return {"p50": cuts[49], "p95": cuts[94]}


def singles(side: Side, count: int) -> Figures:
    """Start one-step workflows one by one."""

    def work() -> list[int]:
        started = [side.echo.delay(number) for number in range(count)]
        return [side.collect(one) for one in started]

    return timed(work, list(range(count)))


def bulk(side: Side, count: int) -> Figures:
    """Start one-step workflows at once."""

    def work() -> Any:
        return side.collect_many(side.start_many(side.echo.s(number) for number in range(count)))

    return timed(work, list(range(count)))


def bulk_in_line(side: Any, count: int) -> Figures:
    """Start one-step workflows at once whose steps have a limit."""

    def work() -> Any:
        return side.collect_many(side.start_many(side.echo_in_line.s(number) for number in range(count)))

    return timed(work, list(range(count)))


def waits(side: Side, count: int) -> Figures:
    """Start steps at once that do nothing but wait."""

    def work() -> Any:
        return side.collect_many(side.start_many(side.wait.s(number) for number in range(count)))

    return timed(work, list(range(count)))


def one_chain(side: Side, length: int) -> Figures:
    return timed(lambda: side.collect(side.start(_chain_of(side, length))), length)


def chains(side: Side, count: int) -> Figures:
    """Start chains of 10 one after the other."""

    def work() -> list[int]:
        started = [side.start(_chain_of(side, 10)) for _ in range(count)]
        return [side.collect(one) for one in started]

    return timed(work, [10] * count)


def both_chains(side: Side, length: int) -> Figures:
    """Run one chain, and then a fifth of its length as chains of 10 at once."""
    count = length // 5
    return {f"a chain of {length}": one_chain(side, length)[TOTAL]} | {
        f"{count} chains of 10": chains(side, count)[TOTAL]
    }


def fan(side: Side, width: int) -> Figures:
    return timed(lambda: side.collect(side.start(_fan_of(side, width))), sum(range(width)))


def eight_fans(side: Side, width: int) -> Figures:
    """Start eight fans at once that are together as wide as *width*."""
    each = width // 8

    def work() -> list[int]:
        started = [side.start(_fan_of(side, each)) for _ in range(8)]
        return [side.collect(one) for one in started]

    return timed(work, [sum(range(each))] * 8)


def wide_each(side: Side, width: int) -> Figures:
    return timed(lambda: side.collect(side.start(side.each_of(width))), sum(range(width)))


def latency(side: Side, times: int) -> Figures:
    """Run one step, and again when it is done."""
    return percentiles([timed(lambda: side.collect(side.echo.delay(7)), 7)[TOTAL] for _ in range(times)])


def hops(side: Any, length: int) -> Figures:
    """Time a round trip to the ledger, a hop of a chain, and a job of a fan five times as wide."""
    return {
        "SELECT 1": side.round_trip(),
        "a hop of the chain": one_chain(side, length)[TOTAL] / length,
        "a job of the fan": fan(side, length * 5)[TOTAL] / (length * 5),
    }


def _chain_of(side: Side, length: int) -> Any:
    return chain(side.increase.s(0), *(side.increase.s() for _ in range(length - 1)))


def _fan_of(side: Side, width: int) -> Any:
    return group(side.echo.s(number) for number in range(width)) | side.total.s()
