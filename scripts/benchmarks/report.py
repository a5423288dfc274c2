"""The figures: of all rounds together, as text and as JSON."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from importlib.metadata import version
from statistics import median
from typing import Any

from benchmarks.workloads import WORKLOADS, Figures

Round = dict[str, Figures]
"""The figures of one workload in one round, by side."""


def about(**settings: object) -> dict[str, Any]:
    """Return what a reader needs to compare these figures with others."""
    packages = {name: version(name) for name in ("celery", "kombu", "redis", "sqlalchemy")}
    load = round(os.getloadavg()[0], 1)
    return settings | {
        "python": platform.python_version(),
        **packages,
        "cpus": os.cpu_count(),
        "load_before": load,
    }


def summary(rounds: Sequence[Round]) -> dict[str, dict[str, Any]]:
    """Return, by what was measured, each side's seconds and the ratio, over 1 where agentq is faster.

    The ratio is the median of the rounds' ratios: the two sides of a round met the same weather.
    """
    found = {}
    for name in rounds[0]["bare"]:
        pairs = [(one["bare"][name], one["durable"][name]) for one in rounds]
        ratios = [bare / durable for bare, durable in pairs]
        found[name] = {
            "celery": _spread([bare for bare, _ in pairs]),
            "agentq": _spread([durable for _, durable in pairs]),
            "ratio": _spread(ratios),
        }
    return found


def lines(key: str, rounds: Sequence[Round]) -> list[str]:
    """Return a workload's figures as lines of text."""
    return [
        f"{key}  {WORKLOADS[key].title + ('' if name == 'total' else f', {name}'):<46}"
        f"{_seconds(figures['celery']):>27}{_seconds(figures['agentq']):>27}"
        f"{figures['ratio']['median']:>8.2f} ({figures['ratio']['least']:.2f} to {figures['ratio']['most']:.2f})"
        for name, figures in summary(rounds).items()
    ]


HEADING = f"{'':49}{'bare Celery':>27}{'agentq':>27}    agentq is … times as fast"


def _spread(values: Sequence[float]) -> dict[str, float]:
    return {"median": median(values), "least": min(values), "most": max(values)}


def _seconds(spread: dict[str, float]) -> str:
    unit, factor, digits = ("ms", 1000, 1) if spread["most"] < 0.1 else ("s", 1, 2)
    median_, least, most = (f"{spread[name] * factor:.{digits}f}" for name in ("median", "least", "most"))
    return f"{median_} {unit} ({least} to {most})"
