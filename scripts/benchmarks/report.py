"""The figures: of all rounds together, as text and as JSON."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from importlib.metadata import version
from math import inf
from statistics import median
from typing import Any, NamedTuple

from benchmarks.bench import Round
from benchmarks.comparison import Row, Rows
from benchmarks.work import TOTAL
from benchmarks.workloads import Workload

_LABEL = 50
_FIGURE = 29


class _Unit(NamedTuple):
    sign: str
    least: float
    """Smaller values are printed in the next unit."""
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
    compared = [workload.compare(one.figures) | _cpu_of_a_job(workload, one) for one in rounds]
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
    title = f"{key}  {workload.title}"
    found = []
    for name, columns in summary(workload, rounds).items():
        if name != TOTAL:
            found.append(title)
        first, second, ratio = columns.values()
        figures = f"{_summary(first, units):>{_FIGURE}}{_summary(second, units):>{_FIGURE}}"
        times = f"{ratio['median']:>8.2f} ({ratio['least']:.2f} to {ratio['most']:.2f})"
        found.append(f"{title if name == TOTAL else f'     {name}':<{_LABEL}}{figures}{times}")
        title = ""
    return [line for line in found if line] + _shares(workload, rounds)


def _spread(values: Sequence[float]) -> dict[str, float]:
    return {"median": median(values), "least": min(values), "most": max(values)}


def _summary(spread: dict[str, float], units: Sequence[_Unit]) -> str:
    unit = next(unit for unit in units if spread["most"] >= unit.least)
    figures = [f"{spread[name] * unit.factor:.{unit.digits}f}" for name in ("median", "least", "most")]
    return f"{figures[0]} {unit.sign} ({figures[1]} to {figures[2]})"


def _cpu_of_a_job(workload: Workload, round_: Round) -> Rows:
    jobs = [contender.jobs for contender in workload.contenders]
    if not round_.cpu or None in jobs:
        return {}
    spent = [sum(one.values()) / (number or 1) for one, number in zip(round_.cpu, jobs, strict=True)]
    return {"CPU of a job": Row.of(*spent)}


def _shares(workload: Workload, rounds: Sequence[Round]) -> list[str]:
    """Return lines that say which processes the CPU of a job went to."""
    found = []
    for number, contender in enumerate(workload.contenders):
        spent = [one.cpu[number] for one in rounds if one.cpu]
        if spent and contender.jobs:
            shares = {kind: median(one.get(kind, 0.0) for one in spent) / contender.jobs for kind in spent[0]}
            by_kind = ", ".join(f"{kind} {seconds * 1e6:.0f} µs" for kind, seconds in shares.items())
            found.append(f"       of it, {contender.name}: {by_kind}")
    return found
