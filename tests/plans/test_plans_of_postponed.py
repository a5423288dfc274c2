"""However many workflows are postponed, starts, ends and let-ins read few pages, by the index of their line."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from agentq import step
from agentq.ledger import postponed, tenants
from agentq.ledger.caretaking.work import find_work
from agentq.ledger.db import migrate
from agentq.ledger.db.session import Ledger
from agentq.states import OnFull
from tests.plans.crowd import multiply
from tests.plans.server import ExplainingPostgres
from tests.support.fake_worker import FakeWorker

POSTPONED, MOST = 100_000, 3
PREPARED = 6
"""The number of runs after which the driver prepares a statement, and the server plans it for good."""
PAGES = 200


@step(max_backlog=1_000)
def counted(x: int) -> int:
    """A step with a cap too, for which there is a look at each let-in."""
    return x


@pytest.fixture(scope="module")
def server() -> Iterator[ExplainingPostgres]:
    with ExplainingPostgres(plan_cache_mode="force_generic_plan") as server:
        yield server


def go_round(fake: FakeWorker) -> None:
    """Start over the cap, end a workflow, let the next one in, and look as a caretaker does."""
    fake.start(counted.s(1), tenant="flood", on_full=OnFull.POSTPONE)
    fake.run(*fake.due())
    postponed.let_in(fake.ledger, "max_open:flood")
    postponed.let_all_in(fake.ledger, "")
    fake.ledger.read(lambda connection: find_work(connection, fake.worker_id, 10))


@pytest.mark.long
def test_plans_of_the_time_when_nothing_was_postponed_still_serve(server: ExplainingPostgres) -> None:
    ledger = Ledger(server.url, timeout=120)
    try:
        migrate.upgrade(ledger)
        fake = FakeWorker(ledger)
        action = {"actor": "ana", "reason": "a trial", "action_id": uuid.uuid4()}
        ledger.write(lambda tx: tenants.set_max_open(tx, "flood", MOST, **action))
        for _ in range(MOST + 1):
            last = fake.start(counted.s(1), tenant="flood", on_full=OnFull.POSTPONE)
        for _ in range(PREPARED):
            go_round(fake)
        last = fake.start(counted.s(1), tenant="flood", on_full=OnFull.POSTPONE)
        assert fake.workflow(last.workflow_id).postponed_on == "max_open:flood"
        multiply(ledger, [last.workflow_id], POSTPONED)
        go_round(fake)  # a new session reads the catalogue first
        since = len(server.log())
        go_round(fake)
        plans = server.plans(since)
        assert any("agentq_workflows_postponed" in plan.text for plan in plans)
        assert [(plan.read_whole, plan.text) for plan in plans if plan.read_whole] == []
        assert [(plan.pages, plan.text) for plan in plans if plan.pages > PAGES] == []
    finally:
        ledger.close()
