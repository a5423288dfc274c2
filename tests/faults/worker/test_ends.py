"""Processes end in the middle of a step, or never end: each attempt is counted, and the next step runs."""

from __future__ import annotations

import time

import pytest

from agentq.exceptions import StepFailed, WorkflowCancelled
from agentq.states import JobStatus
from tests.faults.worker.place import LEASE, worker_of
from tests.faults.worker.steps import (
    crash,
    ignore_limits,
    look_whether_cancelled,
    miss_its_deadline,
    never_return,
    save_in_time,
)
from tests.runtime.queries import history, job_of, require_sound
from tests.support import Broker, Gates, client, eventually
from tests.support.faults import Fault, Phase, covers
from tests.support.processes import is_running
from tests.support.steps import add, meet

on_sqlite = pytest.mark.parametrize("database", ["sqlite"], indirect=True, scope="session")


@covers(Fault.KILL_CHILD, Phase.BODY)
@on_sqlite
@pytest.mark.parametrize("how", ["segfault", "exit", "exit as if well"])
def test_a_step_that_ends_its_process_is_tried_as_often_as_it_may(
    redis_broker: Broker, ledger_url: str, gates: Gates, how: str
) -> None:
    with client(redis_broker, ledger_url) as agentq, worker_of(redis_broker, ledger_url) as worker:
        workflow = agentq.start(crash.s(str(gates.folder), how))
        with pytest.raises(StepFailed, match="worker"):
            workflow.result(30)
        assert (gates.reached("crash"), history(workflow)) == (2, ["lost", "lost"])
        assert job_of(workflow).error_category == "worker_lost"
        assert agentq.start(add.s(1, 2)).result(20) == 3
        assert worker.is_alive
        require_sound(agentq)


@covers(Fault.KILL_CHILD, Phase.BODY)
def test_a_hard_limit_ends_the_attempt_and_the_parent_says_so(
    redis_broker: Broker, ledger_url: str, gates: Gates
) -> None:
    with client(redis_broker, ledger_url) as agentq, worker_of(redis_broker, ledger_url) as worker:
        workflow = agentq.start(ignore_limits.s(str(gates.folder)))
        with pytest.raises(StepFailed) as failure:
            workflow.result(30)
        assert failure.value.category == "timed_out"
        assert (gates.reached("ignore_limits"), history(workflow)) == (2, ["retried", "failed"])
        assert [attempt.error_category for attempt in job_of(workflow).attempts] == ["timed_out"] * 2
        assert agentq.start(add.s(1, 2)).result(20) == 3
        assert worker.is_alive
        require_sound(agentq)


@on_sqlite
def test_a_soft_limit_leaves_time_to_save(redis_broker: Broker, ledger_url: str, gates: Gates) -> None:
    with client(redis_broker, ledger_url) as agentq, worker_of(redis_broker, ledger_url):
        assert agentq.start(save_in_time.s(str(gates.folder))).result(20) == "saved"
        assert gates.reached("saved") == 1


@covers(Fault.KILL_CHILD, Phase.CANCEL)
@on_sqlite
def test_a_running_step_sees_that_it_is_cancelled(redis_broker: Broker, ledger_url: str, gates: Gates) -> None:
    settings = {"cancel_grace": 60}
    with (
        client(redis_broker, ledger_url) as agentq,
        worker_of(redis_broker, ledger_url, settings=settings) as worker,
    ):
        workflow = agentq.start(look_whether_cancelled.s(str(gates.folder)))
        gates.await_reached("looking")
        assert workflow.cancel("enough")
        gates.await_reached("saw it")
        eventually(lambda: "its outcome was discarded" in worker.log(), what="a word on the late outcome")
        with pytest.raises(WorkflowCancelled, match="enough"):
            workflow.result(5)
        assert history(workflow) == ["cancelled"]


@covers(Fault.KILL_CHILD, Phase.CANCEL)
def test_a_cancelled_step_that_does_not_look_is_stopped(
    redis_broker: Broker, ledger_url: str, gates: Gates
) -> None:
    with client(redis_broker, ledger_url) as agentq, worker_of(redis_broker, ledger_url) as worker:
        workflow = agentq.start(never_return.s(str(gates.folder)))
        gates.await_reached("never_return")
        (pid,) = gates.pids("never_return")
        workflow.cancel("enough")
        eventually(lambda: not is_running(pid), 20, what="the end of the step's process")
        assert agentq.start(add.s(1, 2)).result(20) == 3
        assert (gates.reached("never_return"), history(workflow)) == (1, ["cancelled"])
        assert job_of(workflow).status == JobStatus.CANCELLED
        assert worker.is_alive
        require_sound(agentq)


def test_a_job_that_misses_its_deadline_fails_and_is_stopped(
    redis_broker: Broker, ledger_url: str, gates: Gates
) -> None:
    with client(redis_broker, ledger_url) as agentq, worker_of(redis_broker, ledger_url):
        workflow = agentq.start(miss_its_deadline.s(str(gates.folder)))
        with pytest.raises(StepFailed) as failure:
            workflow.result(20)
        assert failure.value.category == "deadline_exceeded"
        (pid,) = gates.pids("miss_its_deadline")
        eventually(lambda: not is_running(pid), 20, what="the end of the step's process")
        assert history(workflow) == ["failed"]
        require_sound(agentq)


@covers(Fault.LEDGER_DOWN, Phase.BODY)
@pytest.mark.parametrize("database", ["sqlite"], indirect=True, scope="session")
def test_a_step_outlives_a_ledger_outage_longer_than_the_lease(
    redis_broker: Broker, ledger_url: str, gates: Gates
) -> None:
    with client(redis_broker, ledger_url) as agentq:
        settings = {"ledger_timeout": 0.5}
        with worker_of(redis_broker, ledger_url, settings=settings) as worker:
            workflow = agentq.start(meet.s(1, str(gates.folder), "gate"))
            gates.await_reached("gate")
            with (
                agentq.ledger.engine.connect() as connection,
                connection.begin(),
            ):  # no other process may write now
                locked_at = time.monotonic()
                eventually(lambda: time.monotonic() - locked_at > 1.5 * LEASE, what="more than a lease")
            assert "lease could not be renewed" in worker.log()
            gates.open("gate")
            assert workflow.result(20) == 1
            assert (history(workflow), gates.reached("gate")) == (["succeeded"], 1)
        require_sound(agentq)
