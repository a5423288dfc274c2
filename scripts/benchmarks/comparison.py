"""The comparison of two figures: rows of first, second and ratio, from the figures of one round."""

from __future__ import annotations

from collections.abc import Sequence
from math import nan
from typing import NamedTuple

from benchmarks.work import AT_BEST, Figures


class Row(NamedTuple):
    """Two figures beside each other; the ratio is not a number where there is none."""

    first: float
    second: float
    ratio: float

    @classmethod
    def of(cls, first: float, second: float) -> Row:
        """Put the first over the second."""
        return cls(first, second, first / second if second > 0 else nan)


Rows = dict[str, Row]
"""Rows by what was measured."""


def side_by_side(round_: Sequence[Figures]) -> Rows:
    """Compare the two contenders: the first over the second."""
    first, second = round_
    return {name: Row.of(first[name], second[name]) for name in first}


def beside_first(round_: Sequence[Figures]) -> Rows:
    """Compare what one contender's figures are at each point, as in ``"at 10, CPU"``, with the first point's."""
    (figures,) = round_
    at_first: dict[str, float] = {}
    rows = {}
    for name, value in figures.items():
        what = name.partition(", ")[2]
        if what in at_first:
            rows[name] = Row.of(value, at_first[what])
        else:
            at_first[what] = value
    return rows


def beside_best(round_: Sequence[Figures]) -> Rows:
    """Put what each figure could be at best over the figure, for all contenders together."""
    figures = {name: value for one in round_ for name, value in one.items()}
    measured = [name for name in figures if name + AT_BEST in figures]
    return {name: Row.of(figures[name + AT_BEST], figures[name]) for name in measured}


def beyond_round_trip(round_: Sequence[Figures]) -> Rows:
    """Say how many of the far contender's longer ways each figure has in it."""
    far, near = round_
    added = far["SELECT 1"] - near["SELECT 1"]
    return {name: Row(far[name], near[name], (far[name] - near[name]) / added) for name in far}
