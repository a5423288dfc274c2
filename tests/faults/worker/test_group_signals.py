"""SIGTERM to a worker's whole process group, as systemd, Heroku and shells send it: nothing is charged for it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from celery import current_app

from agentq.exceptions import StepFailed, WorkflowCancelled
from tests.faults.worker.place import worker_of
from tests.faults.worker.steps import ends_a_child, ignore_limits, in_a_plain_task, note_end
from tests.runtime.queries import history, job_of, require_sound
from tests.support import Broker, Gates, client, eventually
from tests.support.faults import Fault, Phase, covers
from tests.support.processes import is_running
from tests.support.steps import add, meet
from tests.support.worker import STOPS_WITHIN

pytestmark = pytest.mark.parametrize("database", ["sqlite"], indirect=True, scope="session")


@covers(Fault.STOP, Phase.BODY, Phase.COMPLETION)
def test_the_step_ends_and_its_outcome_is_kept(redis_broker: Broker, ledger_url: str, gates: Gates) -> None:
    with client(redis_broker, ledger_url) as agentq, worker_of(redis_broker, ledger_url, 2) as worker:
        workflow = agentq.start(meet.s("done", str(gates.folder), "gate"))
        gates.await_reached("gate")
        os.killpg(worker.pid, signal.SIGTERM)
        eventually(lambda: "Warm shutdown" in worker.log(), what="a warm shutdown")
        os.killpg(worker.pid, signal.SIGTERM)
        gates.open("gate")
        eventually(lambda: not worker.is_alive, STOPS_WITHIN, what="the worker's end")
        assert history(workflow) == ["succeeded"]
        assert gates.reached("gate") == 1
        require_sound(agentq)


@covers(Fault.STOP, Phase.BODY)
@pytest.mark.parametrize("remapped", [False, True], ids=["SIGTERM then SIGQUIT", "SIGTERM remapped"])
def test_a_step_that_does_not_end_is_given_back_without_cost(
    redis_broker: Broker, ledger_url: str, gates: Gates, remapped: bool
) -> None:
    env = {"REMAP_SIGTERM": "SIGQUIT"} if remapped else {}
    options: dict[str, Any] = {"env": env, "arguments": ("--", "worker.soft_shutdown_timeout=1")}
    with client(redis_broker, ledger_url) as agentq, worker_of(redis_broker, ledger_url, **options) as worker:
        workflow = agentq.start(meet.s("done", str(gates.folder), "gate"))
        gates.await_reached("gate")
        attempts = job_of(workflow).max_attempts
        os.killpg(worker.pid, signal.SIGTERM)
        eventually(lambda: "shutdown (MainProcess)" in worker.log(), what="a shutdown")
        if not remapped:
            os.kill(worker.pid, signal.SIGQUIT)
        eventually(lambda: not worker.is_alive, STOPS_WITHIN, what="the worker's end")
        assert history(workflow) == ["released"]
        job = job_of(workflow)
        assert job.max_attempts - job.attempt == attempts, "the stop cost an attempt"


class TestPoolProcesses:
    """Signals that end pool processes elsewhere still do."""

    @pytest.fixture(autouse=True)
    def _worker(self, redis_broker: Broker, ledger_url: str) -> Iterator[None]:
        with (
            client(redis_broker, ledger_url) as self.agentq,
            worker_of(redis_broker, ledger_url, 1, arguments=("--max-tasks-per-child=50",)) as self.worker,
        ):
            yield
            assert self.worker.terminate() == 0

    @pytest.mark.parametrize("number", ["SIGTERM", "SIGKILL"])
    def test_a_revoke_with_terminate(self, gates: Gates, number: str) -> None:
        workflow = self.agentq.start(note_end.s(str(gates.folder), "held"))
        gates.await_reached("held")
        (pid,) = gates.pids("held")
        job = str(workflow.jobs()[0].id)
        self.agentq.app.control.revoke(job, terminate=True, signal=number, reply=True, limit=1)
        with pytest.raises(WorkflowCancelled):
            workflow.result(20)
        eventually(lambda: not is_running(pid), 20, what="the process's end")
        assert gates.reached("cleaned") == (number == "SIGTERM")
        assert self.agentq.start(add.s(1, 2)).result(20) == 3

    def test_a_revoke_of_what_celery_runs(self, gates: Gates) -> None:
        task = self.agentq.app.tasks[in_a_plain_task.name]
        sent = task.apply_async((str(gates.folder), "held"), queue=self.agentq.app.conf.task_default_queue)
        gates.await_reached("held")
        (pid,) = gates.pids("held")
        current_app.control.revoke(sent.id, terminate=True, reply=True, limit=1)
        eventually(lambda: not is_running(pid), 20, what="the process's end")

    def test_a_hard_limit(self, gates: Gates) -> None:
        with pytest.raises(StepFailed, match="limit"):
            self.agentq.start(ignore_limits.s(str(gates.folder))).result(30)

    def test_a_step_terminates_what_it_started(self) -> None:
        assert self.agentq.start(ends_a_child.s()).result(20) == [-signal.SIGTERM, True]
