"""The figures: of all rounds together, as text and as JSON."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from math import inf
from statistics import median
from typing import Any, NamedTuple

from benchmarks.bench import Round
from benchmarks.comparison import Rows
from benchmarks.cpu import Spent
from benchmarks.workloads import Workload

_LABEL = 56
_FIGURE = 29


class _Unit(NamedTuple):
    sign: str
    least: float
    """Smaller values are told in the next unit."""
    factor: float
    digits: int


_TIMES = (_Unit("s", 0.1, 1, 2), _Unit("ms", 1e-3, 1e3, 1), _Unit("µs", 0, 1e6, 0))
_SIZES = (_Unit("MB", 1e6, 1e-6, 1), _Unit("KB", 1e3, 1e-3, 1), _Unit("B", -inf, 1, 0))


def about(**settings: object) -> dict[str, Any]:
    """Return what a reader needs to compare these figures with others."""
    packages = {name: version(name) for name in ("celery", "kombu", "redis", "sqlalchemy", "psycopg")}
    load = round(os.getloadavg()[0], 1)
    return settings | {
        "python": platform.python_version(),
        **packages,
        "cpus": os.cpu_count(),
        "load_before": load,
    }


def summary(workload: Workload, rounds: Sequence[Round]) -> dict[str, dict[str, Any]]:
    """Return, by what was measured, the two columns and the ratio, each as median, least and most.

    The ratio is the median of the rounds' ratios: the two figures of a round met the same weather.
    """
    compared: list[Rows] = [workload.compare(one.figures) for one in rounds]
    columns = (*workload.columns, "ratio")
    return {
        name: {column: _spread([rows[name][number] for rows in compared]) for number, column in enumerate(columns)}
        for name in compared[0]
    }


def heading(workload: Workload) -> str:
    """Return a line that says what the columns are."""
    first, second = workload.columns
    return f"{'':{_LABEL}}{first:>{_FIGURE}}{second:>{_FIGURE}}    {workload.ratio}"


def lines(key: str, workload: Workload, rounds: Sequence[Round]) -> list[str]:
    """Return a workload's figures as lines of text, and where the CPU went, if that was measured."""
    units = _SIZES if workload.in_bytes else _TIMES
    found: list[str] = []
    for name, columns in summary(workload, rounds).items():
        first, second, ratio = columns.values()
        label = f"{key}  {workload.title}" if not found else "   …"
        label = f"{label}{', ' * bool(name)}{name}"
        figures = f"{_told(first, units):>{_FIGURE}}{_told(second, units):>{_FIGURE}}"
        times = f"{ratio['median']:>8.2f} ({ratio['least']:.2f} to {ratio['most']:.2f})"
        found.append(f"{label:<{_LABEL}}{figures}{times}")
    return found + [
        f"   CPU, µs a job, {contender.name}: {_shares([one.cpu[number] for one in rounds], contender.jobs)}"
        for number, contender in enumerate(workload.contenders)
        if contender.jobs and rounds[0].cpu
    ]


def _spread(values: Sequence[float]) -> dict[str, float]:
    return {"median": median(values), "least": min(values), "most": max(values)}


def _told(spread: dict[str, float], units: Iterable[_Unit]) -> str:
    unit = next(unit for unit in units if spread["most"] >= unit.least)
    told = [f"{spread[name] * unit.factor:.{unit.digits}f}" for name in ("median", "least", "most")]
    return f"{told[0]} {unit.sign} ({told[1]} to {told[2]})"


def _shares(rounds: Sequence[Spent], jobs: int) -> str:
    shares = {kind: median(spent.get(kind, 0.0) for spent in rounds) / jobs * 1e6 for kind in rounds[0]}
    told = ", ".join(f"{kind} {microseconds:.0f}" for kind, microseconds in shares.items())
    return f"{sum(shares.values()):.0f} ({told})"
