"""A worker of an older release leaves the job of a step that it does not have to a worker that has it."""

from __future__ import annotations

from agentq.states import JobStatus
from tests.faults.broker.shared import SETTINGS, on_sqlite, ran_once, worker_of
from tests.faults.broker.steps import newer
from tests.runtime.queries import job_of, require_sound, row_of
from tests.support import Broker, Gates, Worker, client, eventually
from tests.support.faults import Fault, Phase, covers
from tests.support.steps import add


@on_sqlite
@covers(Fault.LOSE_MESSAGE, Phase.DISPATCH, Phase.CLAIM)
def test_a_step_that_no_worker_knows_waits_for_one_that_does(
    any_broker: Broker, ledger_url: str, gates: Gates
) -> None:
    with client(any_broker, ledger_url) as agentq:
        with Worker(any_broker, ledger_url, settings=SETTINGS) as older:
            workflow = agentq.start(newer.s(1, str(gates.folder), "ran") | add.s(2))
            eventually(
                lambda: "no live worker knows step" in (job_of(workflow).waiting_for or ""),
                20,
                what="a worker that was asked",
            )
            assert row_of(agentq, older).refused_messages == 0
            assert agentq.start(add.s(1, 2)).result(20) == 3
            job = job_of(workflow)
            assert (job.status, job.attempt) == (JobStatus.QUEUED, 0)
            assert older.terminate() == 0
        with worker_of(any_broker, ledger_url):
            assert workflow.result(30) == 3
        assert gates.reached("ran") == 1
        assert ran_once(workflow)
        require_sound(agentq)
