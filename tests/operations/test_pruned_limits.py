"""A prune deletes the limits that no job names any more, and the turns that change nothing."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
from sqlalchemy import select

from agentq.ledger import limits as ledger_limits
from agentq.ledger.models import LimitRow, TurnRow
from agentq.operations import limits, pruning
from agentq.policies.limits import Meters
from tests.support.limited import BLOCKED, QUEUED, SLOTS, LimitedWorker, ask, render

SMALL = "model:small"


@pytest.fixture
def worker(ledger_url: str) -> Iterator[LimitedWorker]:
    worker = LimitedWorker(ledger_url)
    yield worker
    worker.ledger.close()


def run_all(worker: LimitedWorker) -> None:
    while worker.published:
        worker.end(worker.next())


def names(worker: LimitedWorker) -> set[str]:
    return set(worker.ledger.read(lambda connection: connection.scalars(select(LimitRow.name)).all()))


def tenants(worker: LimitedWorker) -> set[str]:
    return set(worker.ledger.read(lambda connection: connection.scalars(select(TurnRow.tenant)).all()))


def test_limits_without_jobs_go_and_those_that_a_job_or_an_operator_names_stay(worker: LimitedWorker) -> None:
    worker.begin_all([ask.s("old"), ask.s("changed")])
    limits.change(worker.ledger, "model:changed", 1, reason="less")
    run_all(worker)
    assert pruning.prune(worker.ledger, older_than=60).limits == 0  # a replay might need them
    worker.begin_all([ask.s()])
    assert pruning.prune(worker.ledger, older_than=0, dry_run=True).limits == 0
    pruned = pruning.prune(worker.ledger, older_than=0)
    assert (pruned.workflows, pruned.limits, names(worker)) == (2, 1, {SMALL, "model:changed"})
    assert pruning.prune(worker.ledger, older_than=0).limits == 0


def test_a_limit_that_is_used_again_begins_anew(worker: LimitedWorker) -> None:
    worker.begin_all([ask.s()])
    run_all(worker)
    assert pruning.prune(worker.ledger, older_than=0).limits == 1
    jobs = worker.begin_all([ask.s()] * (SLOTS + 1))
    assert worker.statuses(jobs) == [QUEUED] * SLOTS + [BLOCKED]


def test_a_limit_that_was_deleted_while_a_start_named_it_is_entered_again(worker: LimitedWorker) -> None:
    with worker.dying():
        [job] = worker.begin_all([ask.s()])
    worker.ledger.write(lambda tx: tx.connection.execute(LimitRow.__table__.delete()))
    ledger_limits.enter_unawaited(worker.ledger)
    assert worker.job(job).status == BLOCKED  # code that does not know the limit leaves it
    ledger_limits.enter_unawaited(worker.ledger, {SMALL: Meters(slots=SLOTS)}.get)
    assert (worker.job(job).status, worker.limit(SMALL).declared) == (QUEUED, SLOTS)


def test_turns_that_change_nothing_go(worker: LimitedWorker) -> None:
    jobs: list[uuid.UUID] = []
    for tenant in ("first", "second", "third"):
        jobs += worker.begin_all([render.s()], tenant=tenant)
        run_all(worker)
    assert tenants(worker) == {"first", "second", "third"}
    ahead = max(worker.turn("gpu", tenant).served for tenant in tenants(worker))
    pruning.prune(worker.ledger, older_than=60)
    left = tenants(worker)
    assert {worker.turn("gpu", tenant).served for tenant in left} == {ahead}
    [job] = worker.begin_all([render.s()], tenant="first")
    assert worker.job(job).status == QUEUED
    assert worker.turn("gpu", "first").served == ahead + 1  # it has no credit for the time that it was away
    assert jobs


def test_the_turn_of_a_tenant_that_waits_stays(worker: LimitedWorker) -> None:
    worker.begin_all([render.s()], tenant="first")
    worker.begin_all([render.s()], tenant="waits")
    pruning.prune(worker.ledger, older_than=60)
    assert "waits" in tenants(worker)
