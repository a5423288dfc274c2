"""However full the ledger is, no statement of a client's, a worker's or a caretaker's reads all that is done."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import select

from agentq import AgentQ
from agentq.ledger.db import migrate
from agentq.ledger.models import JobRow
from agentq.states import JobStatus
from tests.plans.activity import run_canvases, run_caretaker
from tests.plans.crowd import crowd
from tests.plans.server import ExplainingPostgres
from tests.support import Worker, client, eventually, redis_server

JOBS = 100_000
PAGES = 300
"""More than any statement needs here; the tables and indexes of so many jobs have several hundred to thousands."""
PREPARED = 6
"""The number of runs after which the driver prepares a statement, and the server plans it for good."""


@pytest.fixture(scope="module")
def server() -> Iterator[ExplainingPostgres]:
    with ExplainingPostgres(plan_cache_mode="force_generic_plan") as server:
        yield server


@pytest.fixture(scope="module")
def agentq(server: ExplainingPostgres) -> Iterator[AgentQ]:
    """A client; it and a worker have planned all their statements before the ledger was filled."""
    settings = {"redispatch_after": 0.5, "lease": 2}
    with redis_server() as broker, client(broker, server.url) as agentq:
        migrate.upgrade(agentq.ledger)
        server.administer("ANALYZE")  # so the planner knows that the tables are empty, and reads them whole
        with Worker(broker, server.url, pool="solo", concurrency=1, settings=settings):
            for _ in range(PREPARED):
                run_canvases(agentq)
            run_caretaker(agentq)
            crowd(server.url, JOBS)
            run_caretaker(agentq)
            _wait_for_messages_of_the_crowd(agentq)
            yield agentq


def test_plans_of_the_time_when_the_ledger_was_empty_still_serve(
    agentq: AgentQ, server: ExplainingPostgres
) -> None:
    require_small_reads(agentq, server)


def test_plans_without_statistics_serve(agentq: AgentQ, server: ExplainingPostgres) -> None:
    server.forget_plans()
    require_small_reads(agentq, server)


def test_plans_without_values_serve(agentq: AgentQ, server: ExplainingPostgres) -> None:
    server.administer("ANALYZE")
    require_small_reads(agentq, server)


def test_plans_for_each_value_serve(agentq: AgentQ, server: ExplainingPostgres) -> None:
    server.administer("ALTER DATABASE postgres SET plan_cache_mode = force_custom_plan")
    server.administer("ANALYZE")
    server.forget_plans()
    require_small_reads(agentq, server)


def _wait_for_messages_of_the_crowd(agentq: AgentQ) -> None:
    """Wait for a caretaker that publishes what the crowd has in its queue, many at once.

    Each of its statements writes hundreds of rows, and leaves as many dead ones to the next looks. Under load it
    would do so while the pages are counted.
    """
    unsent = select(JobRow.id).where(JobRow.status == JobStatus.QUEUED, JobRow.dispatches == 0).limit(1)
    eventually(
        lambda: agentq.ledger.read(lambda connection: connection.scalar(unsent)) is None,
        60,
        what="a caretaker that publishes the messages of the crowd",
    )


def require_small_reads(agentq: AgentQ, server: ExplainingPostgres) -> None:
    since = len(server.log())
    run_canvases(agentq)
    run_caretaker(agentq)
    plans = server.plans(since)
    assert len({plan.text.partition("\n")[0] for plan in plans}) > 20, "the server has reported few plans"
    assert [(plan.read_whole, plan.text) for plan in plans if plan.read_whole] == []
    assert [(plan.pages, plan.text) for plan in plans if plan.pages > PAGES] == []
