"""The rows that are in the ledger before the client comes."""

from __future__ import annotations

import json
from collections.abc import Callable

from sqlalchemy import update

from agentq.ledger.db.session import Ledger
from agentq.ledger.db.types import seconds_from_now
from agentq.ledger.models import JobRow, WorkflowRow
from agentq.ledger.transaction import Transaction
from tests.support.fake_worker import FakeWorker
from tests.sweep.steps import TENANT, alone, fragile, never, strict

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


SEEDS: dict[str, Callable[[Ledger], None]] = {"lost": seed_lost, "older": seed_older}
