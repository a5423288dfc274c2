"""agentq as it comes: nothing is tuned for the benchmark."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from statistics import median
from typing import Any

from celery import Celery

from agentq import AgentQ, Concurrency, Rate, Workflow, each, step
from benchmarks import functions
from benchmarks.place import here

app = Celery("durable")
app.conf.update(here().settings())
agentq = AgentQ(app, ledger=here().ledger, dead_letter_queue=f"{here().queue}.dead")

echo = step(functions.echo)
increase = step(functions.increase)
total = step(functions.total)
spread = step(functions.numbers)
call = step(functions.call)
call_of = {
    slots: step(name=f"call-of-{slots}", limits=[Concurrency(f"of-{slots}", limit=slots)])(functions.call)
    for slots in (1, 10)
}
start_of = {
    starts: step(name=f"start-of-{starts}", limits=[Rate(f"of-{starts}-a-minute", limit=starts, per=60)])(
        functions.mark
    )
    for starts in (1_200, 3_000)
}


@step(limits=[Concurrency("line", limit=10)])
def echo_in_line(number: int) -> int:
    return functions.echo(number)


@step
async def wait(number: int) -> int:
    await asyncio.sleep(functions.WAIT)
    return number


def start(canvas: Any) -> Workflow[Any]:
    return agentq.start(canvas)


def start_many(canvases: Iterable[Any]) -> list[Workflow[Any]]:
    return agentq.start_many(canvases)


def collect(started: Workflow[Any]) -> Any:
    return started.result(timeout=functions.PATIENCE)


def collect_many(started: list[Workflow[Any]]) -> list[Any]:
    return [collect(one) for one in started]


def each_of(count: int) -> Any:
    """A step that returns *count* items, one job for each, and their sum."""
    return spread.s(count) | each(echo.s()) | total.s()


def round_trip() -> float:
    """Return how many seconds the shortest way to the ledger and back takes, in the median."""
    seconds = []
    with agentq.ledger.engine.connect() as connection:
        connection = connection.execution_options(isolation_level="AUTOCOMMIT")
        for _ in range(200):
            began = time.perf_counter()
            connection.exec_driver_sql("SELECT 1")
            seconds.append(time.perf_counter() - began)
    return median(seconds)
