"""The jobs that a transaction dispatches: after its commit, or not at all."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from agentq.ledger import starts
from agentq.ledger.db.session import Ledger
from agentq.ledger.records import Dispatch
from agentq.ledger.starts import Started
from agentq.ledger.transaction import Transaction
from agentq.states import JobStatus
from tests.support.fake_worker import FakeWorker, graph_of
from tests.support.steps import add


@pytest.fixture
def published(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> list[Dispatch]:
    """The jobs that the ledger publishes, for as long as it can."""
    jobs: list[Dispatch] = []
    monkeypatch.setattr(ledger, "publish", jobs.extend)
    return jobs


def start(tx: Transaction, key: str = "k") -> Started:
    return starts.start(tx, graph_of(add.s(1, 2)), tenant="acme", key=key)


def test_jobs_are_published_after_the_commit(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def publish(dispatches: Sequence[Dispatch]) -> None:
        seen.extend(FakeWorker(ledger).job(dispatch.job_id).status for dispatch in dispatches)

    monkeypatch.setattr(ledger, "publish", publish)
    for write in (ledger.write, ledger.write_statement, ledger.write_with_application):
        write(lambda tx: start(tx, write.__name__))  # noqa: B023
    assert seen == [JobStatus.QUEUED] * 3


def test_a_try_that_failed_publishes_nothing_of_its_own(ledger: Ledger, published: list[Dispatch]) -> None:
    tries: list[Started] = []

    def write(tx: Transaction) -> Started:
        tries.append(start(tx, f"try {len(tries)}"))
        if len(tries) == 1:
            raise OperationalError(
                "COMMIT", None, ConnectionError("database is locked"), connection_invalidated=True
            )
        return tries[-1]

    ledger.write(write)
    assert len(tries) == 2
    assert [dispatch.workflow_id for dispatch in published] == [tries[1].workflow_id]


def test_a_transaction_that_is_undone_publishes_nothing(ledger: Ledger, published: list[Dispatch]) -> None:
    def write(tx: Transaction) -> None:
        start(tx)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        ledger.write(write)
    assert published == []


def test_a_call_publishes_in_its_own_way_where_it_has_one(ledger: Ledger, published: list[Dispatch]) -> None:
    own: list[Dispatch] = []
    started = ledger.write(start, publish=own.extend)
    assert ([dispatch.workflow_id for dispatch in own], published) == ([started.workflow_id], [])


def test_a_ledger_without_a_broker_schedules_the_jobs_in_the_same_transaction(ledger: Ledger) -> None:
    def write(tx: Transaction) -> Started:
        started = start(tx)
        assert tx.connection.scalar(text("SELECT status FROM agentq_jobs")) == JobStatus.QUEUED
        return started

    started = ledger.write(write)
    fake = FakeWorker(ledger)
    (job,) = fake.jobs(started.workflow_id)
    assert (job.status, job.due_at is not None) == (JobStatus.SCHEDULED, True)
    assert [dispatch.job_id for dispatch in fake.due()] == [job.id]
