"""A job of the lowest priority in a busy line waits longer than in the order of the starts, by a bounded time."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from itertools import accumulate

import pytest

from agentq import Concurrency, step
from tests.support.paced import PacedWorker

LOWEST, HIGHEST = 0, 9
MOST_LONGER = 540.0
"""Seconds by which the highest priority comes before the lowest one: a minute for each step."""
TOOK = 20.0
"""Seconds that a job takes, and from one start to the next: the line never empties, and does not grow."""
BACKLOG, STARTS = 5, 45
"""The jobs that start at once, and all of them."""
PLACE = BACKLOG - 1
"""The job of the lowest priority: the last of those that start at once."""
ARRIVALS = [max(0.0, TOOK * (number - BACKLOG + 1)) for number in range(STARTS)]


@step(limits=[Concurrency("one-desk", limit=1)])
def serve() -> None:
    """A call of which one may run at once."""


@pytest.fixture
def worker(ledger_url: str) -> Iterator[PacedWorker]:
    """A worker for all jobs."""
    worker = PacedWorker(ledger_url)
    yield worker
    worker.ledger.close()


def test_a_job_among_urgent_ones_waits_no_more_than_nine_minutes_longer_than_in_the_order_of_the_starts(
    worker: PacedWorker,
) -> None:
    waits = waits_of(worker, [LOWEST if number == PLACE else HIGHEST for number in range(STARTS)])
    free = accumulate(ARRIVALS, lambda at, arrival: max(at, arrival) + TOOK, initial=0.0)
    longer = [wait - max(0.0, at - arrival) for wait, at, arrival in zip(waits, free, ARRIVALS, strict=False)]
    assert MOST_LONGER - 2 * TOOK <= longer[PLACE] <= MOST_LONGER
    del longer[PLACE]
    assert max(longer) <= 0


def waits_of(worker: PacedWorker, priorities: list[int]) -> list[float]:
    """Return the seconds from the start of each job to that of its attempt, on a worker that is always busy."""
    started: dict[uuid.UUID, int] = {}
    waits: dict[int, float] = {}
    while len(waits) < STARTS:
        for number in range(len(started), STARTS):
            if ARRIVALS[number] <= worker.passed:
                [job] = worker.begin_all([serve.s()], priority=priorities[number])
                started[job] = number
        claimed = worker.next()
        number = started[claimed.job_id]
        waits[number] = worker.passed - ARRIVALS[number]
        worker.let_pass(TOOK)
        worker.end(claimed)
    return [waits[number] for number in range(STARTS)]
