"""However many schedules there are, a look and a tick read few pages, by the index of what is due."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import insert, literal_column, select, text

from agentq.ledger.db import migrate
from agentq.ledger.db.session import Ledger
from agentq.ledger.models import ScheduleRow
from agentq.operations import schedules
from agentq.states import Overlap
from tests.plans.server import ExplainingPostgres
from tests.support.scheduled import Scheduler

SCHEDULES = 100_000
PREPARED = 6
"""The number of runs after which the driver prepares a statement, and the server plans it for good."""
PAGES = 100


@pytest.fixture(scope="module")
def server() -> Iterator[ExplainingPostgres]:
    with ExplainingPostgres(plan_cache_mode="force_generic_plan") as server:
        yield server


def go_round(one: Scheduler) -> None:
    """Look as a caretaker does, start a tick, pause the schedule and let it go on."""
    one.has_work()
    one.go_back(90)
    one.care()
    schedules.pause(one.ledger, "digest", tenant="acme", reason="a trial")
    schedules.resume(one.ledger, "digest", tenant="acme")


def copy(one: Scheduler, times: int) -> None:
    """Write the schedule many times, under names of their own, due in some hours."""
    columns: dict[str, Any] = {column.name: column for column in ScheduleRow.__table__.columns}
    columns["id"] = literal_column("gen_random_uuid()")
    columns["name"] = literal_column("'copy-' || n")
    columns["next_at"] = literal_column("next_at + n * interval '1 second' + interval '2 hours'")
    rows = select(*(value.label(name) for name, value in columns.items())).select_from(
        ScheduleRow.__table__, text(f"generate_series(1, {times}) AS n")
    )
    one.ledger.write(lambda tx: tx.connection.execute(insert(ScheduleRow).from_select(list(columns), rows)))


@pytest.mark.long
def test_plans_of_the_time_when_there_was_one_schedule_still_serve(server: ExplainingPostgres) -> None:
    ledger = Ledger(server.url, timeout=120)
    try:
        migrate.upgrade(ledger)
        one = Scheduler(ledger)
        one.declare(overlap=Overlap.ALLOW)
        for _ in range(PREPARED):
            go_round(one)
        copy(one, SCHEDULES)
        go_round(one)  # a new session reads the catalogue first
        since = len(server.log())
        go_round(one)
        plans = [plan for plan in server.plans(since) if "agentq_schedule" in plan.text]
        assert any("ix_agentq_schedules_due" in plan.text for plan in plans)
        by_hand = "SET since="  # the test's own, which moves the schedule back
        plans = [plan for plan in plans if by_hand not in plan.text]
        assert [(plan.read_whole, plan.text) for plan in plans if plan.read_whole] == []
        assert [(plan.pages, plan.text) for plan in plans if plan.pages > PAGES] == []
    finally:
        ledger.close()
