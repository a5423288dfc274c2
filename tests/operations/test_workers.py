"""Workers as the ledger knows them: by their leases, and by the jobs that they hold."""

from __future__ import annotations

import uuid

import pytest

from agentq.exceptions import NotFound
from agentq.ledger import workers as ledger_workers
from agentq.ledger.db.session import Ledger
from agentq.operations import workers
from agentq.states import WorkerStatus
from tests.support.fake_worker import FakeWorker
from tests.support.steps import echo


def statuses(ledger: Ledger, **wanted: WorkerStatus) -> dict[uuid.UUID, WorkerStatus]:
    """The workers that are listed, and where they stand."""
    return {worker.id: worker.status for worker in workers.list_(ledger, **wanted)}


def test_a_lease_gives_the_status_of_a_worker(ledger: Ledger) -> None:
    alive, lost, stopped = FakeWorker(ledger), FakeWorker(ledger, lease=-1), FakeWorker(ledger)
    ledger.write(lambda tx: ledger_workers.sign_off(tx, stopped.worker_id))
    assert statuses(ledger) == {
        alive.worker_id: WorkerStatus.ALIVE,
        lost.worker_id: WorkerStatus.LOST,
        stopped.worker_id: WorkerStatus.STOPPED,
    }
    for status in WorkerStatus:
        assert list(statuses(ledger, status=status).values()) == [status]


def test_a_worker_is_shown_with_the_jobs_that_it_holds(fake: FakeWorker) -> None:
    other = FakeWorker(fake.ledger)
    claimed = [fake.begin(echo.s(number)) for number in range(3)]
    fake.succeed(claimed.pop(0))
    other.begin(echo.s(0))
    assert {worker.id: worker.running for worker in workers.list_(fake.ledger)} == {
        fake.worker_id: 2,
        other.worker_id: 1,
    }
    shown = workers.get(fake.ledger, str(fake.worker_id))
    assert (shown.hostname, shown.running) == ("fake", 2)
    assert {job.id for job in shown.jobs} == {claim.job_id for claim in claimed}


def test_the_list_is_bounded(ledger: Ledger) -> None:
    for _ in range(3):
        FakeWorker(ledger)
    assert len(workers.list_(ledger, limit=2)) == 2


@pytest.mark.parametrize("worker_id", ["019a0000-0000-7000-8000-000000000000", "w1@host"])
def test_an_unknown_worker_is_an_error(ledger: Ledger, worker_id: str) -> None:
    with pytest.raises(NotFound, match="agentq workers list"):
        workers.get(ledger, worker_id)
