"""Bare Celery, set up as carefully as it allows: late acknowledgement, no prefetching, results in Redis."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from celery import Celery, Signature, chord, group

from benchmarks import functions
from benchmarks.place import here

app = Celery("bare", backend=here().results, set_as_current=False)
app.conf.update(
    here().settings(),
    task_acks_late=True,
    worker_prefetch_multiplier=1,
    broker_connection_retry_on_startup=True,
)

echo = app.task(functions.echo)
increase = app.task(functions.increase)
total = app.task(functions.total)


@app.task  # type: ignore[untyped-decorator]
def wait(number: int) -> int:
    """Celery runs no coroutines, so this takes a thread of its pool."""
    time.sleep(functions.WAIT)
    return number


@app.task(bind=True)  # type: ignore[untyped-decorator]
def spread(self: Any, count: int) -> Any:
    """Celery's own counterpart of ``each``: a task that is replaced by a chord."""
    raise self.replace(chord([echo.s(number) for number in range(count)], total.s()))


def start(canvas: Signature) -> Any:
    return canvas.apply_async()


def start_many(canvases: Iterable[Signature]) -> Any:
    return group(canvases).apply_async()


def collect(started: Any) -> Any:
    return started.get(timeout=functions.PATIENCE)


def collect_many(started: Any) -> Any:
    return started.get(timeout=functions.PATIENCE)


def each_of(count: int) -> Signature:
    """A step that returns *count* items, one job for each, and their sum."""
    return spread.s(count)
