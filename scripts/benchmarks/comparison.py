"""How two figures are compared: rows of first, second and ratio, from the figures of one round."""

from __future__ import annotations

from collections.abc import Sequence
from math import nan
from typing import NamedTuple

from benchmarks.work import Figures


class Row(NamedTuple):
    """Two figures beside each other; the ratio is not a number where there is none to tell."""

    first: float
    second: float
    ratio: float


Rows = dict[str, Row]
"""Rows by what was measured."""


def side_by_side(round_: Sequence[Figures]) -> Rows:
    """Compare the two contenders: the first over the second."""
    first, second = round_
    return {name: _over(first[name], second[name]) for name in first}


def beside_first(round_: Sequence[Figures]) -> Rows:
    """Compare the figures of one contender that differ in a number with the one of the smallest."""
    (figures,) = round_
    rows = {}
    for name, value in figures.items():
        label = name.rpartition(", ")[0]
        first = next(one for other, one in figures.items() if other.rpartition(", ")[0] == label)
        if value is not first:
            rows[name] = _over(value, first)
    return rows


def beyond_round_trip(round_: Sequence[Figures]) -> Rows:
    """Say how many of the far contender's longer ways each figure has in it."""
    far, near = round_
    added = far["SELECT 1"] - near["SELECT 1"]
    return {name: Row(far[name], near[name], (far[name] - near[name]) / added) for name in far}


def _over(first: float, second: float) -> Row:
    return Row(first, second, first / second if second > 0 else nan)
