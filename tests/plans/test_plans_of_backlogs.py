"""However many workflows are done or open, a start counts as far as a cap, by an index, and not without one."""

from __future__ import annotations

import contextlib
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from agentq import step
from agentq.exceptions import BacklogFull
from agentq.ledger import backlog, tenants
from agentq.ledger.backlog import Guard
from agentq.ledger.db import migrate
from agentq.ledger.db.session import Ledger
from agentq.ledger.insertion import _INSERT_WORKFLOW
from agentq.ledger.queries.tenants import open_of
from tests.plans.crowd import crowd, multiply
from tests.plans.server import ExplainingPostgres
from tests.support import sqlite_file
from tests.support.fake_worker import FakeWorker
from tests.support.steps import add

DONE, OPEN, MOST = 20_000, 100_000, 10_000
PREPARED = 6
"""The number of runs after which the driver prepares a statement, and the server plans it for good."""
PAGES, PAGES_OF_COUNT = 100, 600
"""More than a start needs without a cap, and than a count needs of MOST rows; all open ones have many more."""


@step(max_backlog=MOST)
def render() -> None:
    """A step of which many jobs wait."""


@pytest.fixture(scope="module")
def server() -> Iterator[ExplainingPostgres]:
    with ExplainingPostgres(plan_cache_mode="force_generic_plan") as server:
        yield server


@pytest.fixture(scope="module")
def fake(server: ExplainingPostgres) -> Iterator[FakeWorker]:
    """A client that planned its statements when nothing was open."""
    ledger = Ledger(server.url, timeout=120)
    migrate.upgrade(ledger)
    crowd(server.url, DONE)
    server.administer("ANALYZE")
    fake = FakeWorker(ledger)
    for _ in range(PREPARED):
        start_in_each_way(fake)
    fill(fake)
    yield fake
    ledger.close()


def fill(fake: FakeWorker) -> None:
    """Open many workflows of a tenant, whose jobs wait."""
    cap(fake, 10**6)
    multiply(fake.ledger, [fake.start(render.s(), tenant="flood").workflow_id], OPEN)
    cap(fake, MOST)


def cap(fake: FakeWorker, most: int) -> None:
    action = {"actor": "ana", "reason": "a trial", "action_id": uuid.uuid4()}
    fake.ledger.write(lambda tx: tenants.set_max_open(tx, "flood", most, **action))


def start_in_each_way(fake: FakeWorker) -> None:
    """Start without a cap, with a cap of the tenant and with one of the step."""
    for tenant, canvas in (("calm", add.s(1, 2)), ("flood", add.s(1, 2)), ("calm", render.s())):
        with contextlib.suppress(BacklogFull):
            fake.run(*fake.start(canvas, tenant=tenant).dispatches)
    fake.ledger.read(lambda connection: open_of(connection, "flood"))


def test_plans_of_the_time_when_nothing_was_open_still_serve(fake: FakeWorker, server: ExplainingPostgres) -> None:
    require_small_reads(fake, server)


def test_plans_for_each_value_serve(fake: FakeWorker, server: ExplainingPostgres) -> None:
    server.administer("ALTER DATABASE postgres SET plan_cache_mode = force_custom_plan")
    server.administer("ANALYZE")
    server.forget_plans()
    require_small_reads(fake, server)


def require_small_reads(fake: FakeWorker, server: ExplainingPostgres) -> None:
    start_in_each_way(fake)  # a new session reads the catalogue first
    since = len(server.log())
    start_in_each_way(fake)
    plans = server.plans(since)
    counts = [plan for plan in plans if "agentq_workflows_open" in plan.text or "agentq_jobs_backlog" in plan.text]
    assert len(counts) >= 4, "the server has reported few plans"
    assert [(plan.read_whole, plan.text) for plan in plans if plan.read_whole] == []
    assert [plan.text for plan in plans if "Sort " in plan.text] == []
    assert [(plan.pages, plan.text) for plan in counts if plan.pages > PAGES_OF_COUNT] == []
    assert [(plan.pages, plan.text) for plan in plans if plan not in counts and plan.pages > PAGES] == []


@pytest.mark.parametrize("statistics", [False, True], ids=["without_statistics", "with_statistics"])
def test_sqlite_counts_by_an_index(tmp_path: Path, statistics: bool) -> None:
    url = sqlite_file(tmp_path)
    ledger = Ledger(url)
    migrate.upgrade(ledger)
    crowd(url, 2_000)
    with ledger.engine.connect() as connection:
        insert = _INSERT_WORKFLOW[Guard.ROOM]._compiled_for(connection, {}).text
    counts = [str(query.compile(ledger.engine)) for query in (backlog._COUNT_OPEN, backlog._COUNT_WAITING)]
    ledger.close()
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as connection:
        if statistics:
            connection.execute("ANALYZE")
        for text, index in zip(
            [insert, *counts], ("workflows_open", "workflows_open", "jobs_backlog"), strict=True
        ):
            values = [None] * text.count("?")
            plan = " ".join(str(row[3]) for row in connection.execute(f"EXPLAIN QUERY PLAN {text}", values))
            assert f"ix_agentq_{index}" in plan
            assert "TEMP B-TREE" not in plan
