"""Workers as the ledger knows them: by their leases, and by the jobs that they hold."""

from __future__ import annotations

import uuid

import pytest

from agentq.exceptions import NotFound
from agentq.ledger import workers as ledger_workers
from agentq.ledger.db.session import Ledger
from agentq.operations import workers
from agentq.states import WorkerStatus
from tests.support.player import Player
from tests.support.steps import echo


def statuses(ledger: Ledger, **wanted: WorkerStatus) -> dict[uuid.UUID, WorkerStatus]:
    """The workers that are listed, and where they stand."""
    return {worker.id: worker.status for worker in workers.list_(ledger, **wanted)}


def test_a_lease_tells_where_a_worker_stands(ledger: Ledger) -> None:
    alive, lost, stopped = Player(ledger), Player(ledger, lease=-1), Player(ledger)
    ledger.write(lambda tx: ledger_workers.sign_off(tx, stopped.worker_id))
    assert statuses(ledger) == {
        alive.worker_id: WorkerStatus.ALIVE,
        lost.worker_id: WorkerStatus.LOST,
        stopped.worker_id: WorkerStatus.STOPPED,
    }
    for status in WorkerStatus:
        assert list(statuses(ledger, status=status).values()) == [status]


def test_a_worker_is_shown_with_the_jobs_that_it_holds(player: Player) -> None:
    other = Player(player.ledger)
    held = [player.begin(echo.s(number)) for number in range(3)]
    player.succeed(held.pop(0))
    other.begin(echo.s(0))
    assert {worker.id: worker.running for worker in workers.list_(player.ledger)} == {
        player.worker_id: 2,
        other.worker_id: 1,
    }
    shown = workers.get(player.ledger, str(player.worker_id))
    assert (shown.hostname, shown.running) == ("player", 2)
    assert {job.id for job in shown.jobs} == {claim.job_id for claim in held}


def test_the_list_is_bounded(ledger: Ledger) -> None:
    for _ in range(3):
        Player(ledger)
    assert len(workers.list_(ledger, limit=2)) == 2


@pytest.mark.parametrize("worker_id", ["019a0000-0000-7000-8000-000000000000", "w1@host"])
def test_a_worker_that_is_not_there_is_told(ledger: Ledger, worker_id: str) -> None:
    with pytest.raises(NotFound, match="agentq workers list"):
        workers.get(ledger, worker_id)
