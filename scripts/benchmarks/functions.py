"""The functions of the steps and the tasks: next to nothing, so that the engine is measured."""

from __future__ import annotations

PATIENCE = 600.0
"""Seconds to wait for one result."""
WAIT = 1.0
"""Seconds that a model call takes which does nothing else."""


def echo(number: int) -> int:
    return number


def increase(number: int) -> int:
    return number + 1


def total(numbers: list[int]) -> int:
    return sum(numbers)


def numbers(count: int) -> list[int]:
    return list(range(count))
