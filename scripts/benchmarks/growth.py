"""The cost of a job in the course of a long run."""

from __future__ import annotations

from statistics import median

from benchmarks.crew import Crew
from benchmarks.work import Figures

BATCH = 1_000
MARKS = (1_000, 10_000, 100_000)
_WINDOW = 5
"""Batches from each mark on whose median counts."""


def measure(crew: Crew) -> Figures:
    """Do the work in batches to beyond the last mark; return seconds, and of CPU, per job at each mark."""
    figures: Figures = {}
    done = 0
    for mark in MARKS:
        while done < mark:
            crew.client.do(crew.contender.work, BATCH)
            done += BATCH
        meter = crew.meter()
        seconds: list[float] = []
        for _ in range(_WINDOW):
            seconds += crew.client.do(crew.contender.work, BATCH).values()
            done += BATCH
        figures[f"at {mark:,}"] = median(seconds) / BATCH
        figures[f"at {mark:,}, CPU"] = sum(meter.spent().values()) / BATCH / _WINDOW
    return figures
