"""What starts the work and waits for it: one process a side, so that neither runs in the other's surroundings."""

from __future__ import annotations

import os
import time
from concurrent.futures import ProcessPoolExecutor
from importlib import import_module
from multiprocessing import get_context
from typing import Any

from benchmarks.workloads import WORKLOADS, Figures

WARM_UP = 50


def process(environment: dict[str, str]) -> ProcessPoolExecutor:
    """Return a process of its own, in this environment, to submit ``measure`` to."""
    return ProcessPoolExecutor(1, get_context("spawn"), _enter, (environment,))


def measure(side_name: str, key: str) -> Figures:
    """Wait for the side's worker, warm it up, run a workload on it."""
    side: Any = import_module(f"benchmarks.{side_name}")
    deadline = time.monotonic() + 30
    while not side.app.control.ping(timeout=0.2):
        if time.monotonic() > deadline:
            raise TimeoutError(f"the worker of side {side_name!r} does not answer")
    for started in [side.echo.delay(number) for number in range(WARM_UP)]:
        side.collect(started)
    return WORKLOADS[key].measure(side)


def _enter(environment: dict[str, str]) -> None:
    os.environ.update(environment)
