"""Rates on real workers: reached, and never exceeded, and no message more than without them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.runtime.rate_steps import CALLS, COST, FAST, PER, TOKENS, ask, call, call_fast, starts
from tests.runtime.stack import Stack, migrated_ledger, stack
from tests.support import redis_server
from tests.support.paced import most_in

KNOWN = ("-I", "tests.runtime.rate_steps")
FIRST = 10
"""Starts until a caretaker surely paces the limit."""


@pytest.fixture(scope="module")
def at(database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One worker of four processes for the module."""
    folder: Path = tmp_path_factory.mktemp("rates")
    with (
        redis_server() as broker,
        migrated_ledger(database, folder) as url,
        stack(broker, url, concurrency=4, settings={"redispatch_after": 60}, arguments=KNOWN) as running,
    ):
        yield running


@pytest.mark.parametrize(
    ("step", "jobs", "limit", "per", "least"),
    [
        (call, 60, CALLS, PER, 0.95),
        (call_fast, 100, FAST, 1.0, 0.0),  # a busy machine may not reach it
        (ask, 80, TOKENS // COST, 5.0, 0.0),
    ],
    ids=["rate", "fast", "tokens"],
)
def test_a_rate_is_reached_and_never_exceeded(
    at: Stack, tmp_path: Path, step: Any, jobs: int, limit: int, per: float, least: float
) -> None:
    messages = at.broker.published()
    workflows = at.agentq.start_many([step.s(str(tmp_path))] * jobs)
    for workflow in workflows:
        workflow.result(90)
    times = starts(tmp_path)
    assert len(times) == jobs
    assert most_in(times, per) <= limit
    assert at.broker.published() - messages <= 1.05 * jobs
    paced = times[FIRST:]
    reached = (len(paced) - 1) / (paced[-1] - paced[0]) / (limit / per)
    assert reached >= least
