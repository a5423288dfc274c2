"""The rows that are in the ledger before the client comes."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta

from sqlalchemy import update

from agentq import each
from agentq.ledger.db.session import Ledger
from agentq.ledger.db.types import seconds_from_now
from agentq.ledger.models import JobRow, ScheduleRow, WorkflowRow
from agentq.ledger.transaction import Transaction
from agentq.states import Overlap
from tests.support.fake_worker import FakeWorker
from tests.support.scheduled import Scheduler
from tests.sweep import world
from tests.sweep.steps import TENANT, TICK, alone, count_to, double, fragile, largest, never, strict

_OLD = seconds_from_now(-3_600)
"""So that what is seeded is as old at the first run as at the last one."""


def seed_lost(ledger: Ledger) -> None:
    """Write jobs of a dead worker, and one whose time is over."""
    dead = FakeWorker(ledger)
    for key, canvas in (("held", alone.s("held")), ("poisonous", fragile.s("by its worker"))):
        dead.take(*dead.start(canvas, tenant=TENANT, key=key).dispatches)
    dead.renew(-1)
    (late,) = dead.start(never.s().set(expires=60), tenant=TENANT, key="late").dispatches

    def age(tx: Transaction) -> None:
        tx.connection.execute(update(JobRow).values(dispatched_at=_OLD))
        past = seconds_from_now(-1)
        tx.connection.execute(update(JobRow).where(JobRow.id == late.job_id).values(expires_at=past))

    ledger.write(age)


def seed_older(ledger: Ledger) -> None:
    """Write what another release started: a job with arguments that its step did take there."""
    client = FakeWorker(ledger)
    started = client.start(strict.s(1), tenant=TENANT, key="left")
    client.renew(-1)
    terms = json.dumps({strict.name: {"takes": "what it took there"}})
    arguments = json.dumps([["no number"], {}])

    def make_older(tx: Transaction) -> None:
        tx.connection.execute(update(WorkflowRow).where(WorkflowRow.id == started.workflow_id).values(terms=terms))
        tx.connection.execute(update(JobRow).values(arguments=arguments, dispatched_at=_OLD))

    ledger.write(make_older)


def seed_ticks(ledger: Ledger) -> None:
    """Write schedules: of one a tick has come while its last workflow is open; one owes a workflow."""
    client = Scheduler(ledger)
    never_ends = client.start(never.s().set(countdown=world.FAR), tenant=TENANT, key="former")
    for name, canvas, overlap in (
        ("yearly", alone.s("ticked"), Overlap.CANCEL),
        ("owing", count_to.s(2) | each(double.s()) | largest.s(), Overlap.QUEUE),
    ):
        times = {"cron": "0 0 1 1 *", "catch_up_window": world.FAR * 100}
        client.declare(name, canvas, tenant=TENANT, overlap=overlap, **times)
    yearly = {"since": TICK - timedelta(days=1), "next_at": TICK, "last_workflow_id": never_ends.workflow_id}

    def write(tx: Transaction) -> None:
        schedules = update(ScheduleRow)
        tx.connection.execute(schedules.where(ScheduleRow.name == "yearly").values(yearly))
        tx.connection.execute(schedules.where(ScheduleRow.name == "owing").values(owed_for=TICK))

    ledger.write(write)


SEEDS: dict[str, Callable[[Ledger], None]] = {"lost": seed_lost, "older": seed_older, "ticks": seed_ticks}
