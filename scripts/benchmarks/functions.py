"""The functions of the steps and the tasks: next to nothing, so that the engine is measured."""

from __future__ import annotations

import time

PATIENCE = 600.0
"""Seconds to wait for one result."""
WAIT = 1.0
"""Seconds that a model call takes which does nothing else."""
CALL = 0.05
"""Seconds that a short call takes."""


def echo(number: int) -> int:
    return number


def increase(number: int) -> int:
    return number + 1


def total(numbers: list[int]) -> int:
    return sum(numbers)


def numbers(count: int) -> list[int]:
    return list(range(count))


def call(before: object = None) -> list[float]:
    """Wait for as long as a short call takes; return the times of the begin and the end."""
    began = time.monotonic()
    time.sleep(CALL)
    return [began, time.monotonic()]


def mark() -> list[float]:
    """Return the time, as that of the begin and of the end."""
    return [time.monotonic()] * 2
