"""Workers are asked to stop, once, twice and past their patience; or are frozen on pools that cannot kill."""

from __future__ import annotations

import os
import signal

import pytest

from tests.faults.worker.place import worker_of
from tests.runtime.queries import history, job_of, require_sound
from tests.support import Broker, Gates, client, eventually
from tests.support.faults import Fault, Phase, covers
from tests.support.steps import meet

on_sqlite = pytest.mark.parametrize("database", ["sqlite"], indirect=True, scope="session")


@covers(Fault.STOP, Phase.BODY)
@on_sqlite
def test_asked_twice_a_worker_still_lets_its_step_finish_and_charges_nothing(
    redis_broker: Broker, ledger_url: str, gates: Gates
) -> None:
    with client(redis_broker, ledger_url) as agentq, worker_of(redis_broker, ledger_url) as worker:
        workflow = agentq.start(meet.s("done", str(gates.folder), "gate"))
        gates.await_reached("gate")
        os.kill(worker.pid, signal.SIGTERM)
        eventually(lambda: "Warm shutdown" in worker.log(), what="a warm shutdown")
        os.kill(worker.pid, signal.SIGTERM)
        gates.open("gate")
        eventually(lambda: not worker.is_alive, 20, what="the worker's end")
        with worker_of(redis_broker, ledger_url):
            assert workflow.result(20) == "done"
        assert history(workflow) in (["succeeded"], ["released", "succeeded"])
        job = job_of(workflow)
        left = meet.policy.attempts - 1
        assert job.max_attempts - job.attempt == left, "the stop cost an attempt"
        require_sound(agentq)


@covers(Fault.STOP, Phase.BODY)
@covers(Fault.KILL_WORKER, Phase.BODY)
@on_sqlite
def test_a_worker_killed_after_its_grace_period_loses_its_step_to_another(
    redis_broker: Broker, ledger_url: str, gates: Gates
) -> None:
    with client(redis_broker, ledger_url) as agentq, worker_of(redis_broker, ledger_url) as worker:
        workflow = agentq.start(meet.s("done", str(gates.folder), "gate"))
        gates.await_reached("gate")
        os.kill(worker.pid, signal.SIGTERM)
        eventually(lambda: "Warm shutdown" in worker.log(), what="a warm shutdown")
        worker.kill()
        gates.open("gate")
        with worker_of(redis_broker, ledger_url):
            assert workflow.result(20) == "done"
        assert history(workflow) == ["lost", "succeeded"]
        require_sound(agentq)


@covers(Fault.FREEZE, Phase.BODY, Phase.COMPLETION)
@on_sqlite
@pytest.mark.parametrize("pool", ["threads", "solo"])
def test_the_late_outcome_of_a_frozen_worker_is_refused_on_pools_that_cannot_kill(
    redis_broker: Broker, ledger_url: str, gates: Gates, pool: str
) -> None:
    with client(redis_broker, ledger_url) as agentq, worker_of(redis_broker, ledger_url, pool=pool) as first:
        workflow = agentq.start(meet.s("done", str(gates.folder), "gate"))
        gates.await_reached("gate")
        # In a transaction of the test's own, so that it does not freeze with the lock of the database.
        agentq.ledger.write(lambda _: first.freeze())
        with worker_of(redis_broker, ledger_url):
            gates.await_reached("gate", 2)
            gates.open("gate")
            assert workflow.result(20) == "done"
            first.thaw()
            eventually(lambda: "its outcome was discarded" in first.log(), 20, what="a word on the stale outcome")
        assert history(workflow) == ["lost", "succeeded"]
        require_sound(agentq)
