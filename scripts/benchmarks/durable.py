"""agentq as it comes: nothing is tuned for the benchmark."""

from __future__ import annotations

import os
import time
from typing import Any

from celery import Celery

from agentq import AgentQ, Workflow, each, step
from agentq.exceptions import ResultTimeout
from benchmarks import functions

app = Celery("durable", broker=os.environ["BENCH_BROKER"])
agentq = AgentQ(app, ledger=os.environ["BENCH_LEDGER"])

_LOOK_EVERY = 0.01
"""Seconds between two looks for a result: ``Workflow.result`` looks ever more rarely, which blurs the time."""

echo = step(functions.echo)
increase = step(functions.increase)
total = step(functions.total)
spread = step(functions.numbers)


def start(canvas: Any) -> Workflow[Any]:
    return agentq.start(canvas)


def collect(started: Workflow[Any]) -> Any:
    deadline = time.monotonic() + functions.PATIENCE
    while True:
        try:
            return started.result(timeout=0)
        except ResultTimeout:
            if time.monotonic() > deadline:
                raise
            time.sleep(_LOOK_EVERY)


def each_of(count: int) -> Any:
    """A step that returns *count* items, one job for each, and their sum."""
    return spread.s(count) | each(echo.s()) | total.s()
