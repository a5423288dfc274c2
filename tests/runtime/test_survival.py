"""A started workflow runs to its end though workers, their children or the broker die, or a message is lost."""

from __future__ import annotations

import os
import signal
import time
from datetime import timedelta
from typing import Any

import pytest

from agentq import sleep
from agentq.exceptions import StepFailed
from agentq.states import JobStatus
from tests.runtime.queries import history, job_of, ledger_time, require_sound, row_of, taken_message
from tests.runtime.steps import leave, pid_after, poison, run_out_of_memory
from tests.support import Broker, Gates, Worker, client, eventually
from tests.support.faults import Fault, Phase, covers
from tests.support.steps import add, count, meet, whoami

LEASE = 2.0
SETTINGS = {"lease": LEASE, "redispatch_after": 1}
on_sqlite = pytest.mark.parametrize("database", ["sqlite"], indirect=True, scope="session")


def worker_of(broker: Broker, ledger_url: str, concurrency: int = 2, **options: Any) -> Worker:
    """A worker with a short lease that knows all steps of these tests."""
    arguments = ("-I", "tests.runtime.steps", *options.pop("arguments", ()))
    return Worker(broker, ledger_url, settings=SETTINGS, concurrency=concurrency, arguments=arguments, **options)


@covers(Fault.KILL_WORKER, Phase.BODY)
def test_a_killed_worker_loses_no_job(redis_broker: Broker, ledger_url: str, gates: Gates) -> None:
    folder = str(gates.folder)
    with client(redis_broker, ledger_url) as agentq, worker_of(redis_broker, ledger_url) as first:
        held = [agentq.start(meet.s(number, folder, "gate") | add.s(10)) for number in range(2)]
        gates.await_reached("gate", 2)
        behind = [agentq.start(add.s(number, 1)) for number in range(5)]
        with worker_of(redis_broker, ledger_url):
            killed_at = ledger_time(agentq)
            first.kill()
            gates.open("gate")
            assert [workflow.result(20) for workflow in held] == [10, 11]
            assert [workflow.result(20) for workflow in behind] == [1, 2, 3, 4, 5]
        for workflow in held:
            assert history(workflow) == ["lost", "succeeded"]
            again_at = job_of(workflow).attempts[1].started_at
            assert again_at is not None
            assert again_at - killed_at < timedelta(seconds=LEASE + 5)
        require_sound(agentq)


@covers(Fault.KILL_WORKER, Phase.SWEEP)
def test_a_sleep_is_over_at_its_time_though_its_worker_was_killed(redis_broker: Broker, ledger_url: str) -> None:
    with client(redis_broker, ledger_url) as agentq:
        with worker_of(redis_broker, ledger_url) as first:
            workflow = agentq.start(add.s(1, 2) | sleep(seconds=2) | add.s(10))
            eventually(lambda: [job.status for job in workflow.jobs()][1] == JobStatus.SCHEDULED, what="the sleep")
            first.kill()
        until = workflow.jobs()[1].due_at
        with worker_of(redis_broker, ledger_url):
            assert workflow.result(20) == 13
        slept = workflow.jobs()[1]
        assert until is not None
        assert slept.finished_at is not None
        assert slept.finished_at >= until
        require_sound(agentq)


@covers(Fault.FLUSH, Phase.DISPATCH, Phase.BODY)
def test_a_lost_message_is_sent_again(redis_broker: Broker, ledger_url: str, gates: Gates) -> None:
    folder = str(gates.folder)
    with client(redis_broker, ledger_url) as agentq, worker_of(redis_broker, ledger_url, 1):
        held = agentq.start(meet.s(0, folder, "gate"))
        gates.await_reached("gate")
        queued = [agentq.start(count.s(number, folder, f"ran-{number}")) for number in range(20)]
        with redis_broker.redis as redis:
            eventually(lambda: redis_broker.waiting() == 20, what="20 messages in the queue")
            redis.flushall()
        flushed_at = time.monotonic()
        gates.open("gate")
        assert held.result(15) == 0
        assert [workflow.result(15) for workflow in queued] == list(range(20))
        assert time.monotonic() - flushed_at < 15
        assert [gates.reached(f"ran-{number}") for number in range(20)] == [1] * 20
        require_sound(agentq)


@covers(Fault.KILL_CHILD, Phase.BODY)
def test_a_step_that_kills_its_process_becomes_a_dead_letter(
    redis_broker: Broker, ledger_url: str, gates: Gates
) -> None:
    with client(redis_broker, ledger_url) as agentq, worker_of(redis_broker, ledger_url) as worker:
        poisonous = agentq.start(poison.s(str(gates.folder)))
        gates.await_reached("poison")
        assert agentq.start(add.s(1, 2)).result(20) == 3
        with pytest.raises(StepFailed):
            poisonous.result(30)
        job = job_of(poisonous)
        assert gates.reached("poison") == job.max_attempts == 2
        assert (job.status, job.error_category) == (JobStatus.FAILED, "worker_lost")
        assert [attempt.number for attempt in job.attempts] == [1, 2]
        assert agentq.start(add.s(3, 4)).result(20) == 7
        assert worker.is_alive
        require_sound(agentq)


@on_sqlite
def test_an_exception_that_ends_programs_only_fails_the_step(redis_broker: Broker, ledger_url: str) -> None:
    with client(redis_broker, ledger_url) as agentq, worker_of(redis_broker, ledger_url, 1) as worker:
        before = agentq.start(whoami.s()).result(20)["pid"]
        for step, error in ((run_out_of_memory, "MemoryError"), (leave, "SystemExit")):
            workflow = agentq.start(step.s())
            with pytest.raises(StepFailed):
                workflow.result(20)
            assert history(workflow) == ["failed"]
            assert job_of(workflow).error_class == error
        assert agentq.start(whoami.s()).result(20)["pid"] == before
        assert worker.is_alive
        assert row_of(agentq, worker).pid == worker.pid


@covers(Fault.STOP, Phase.BODY, Phase.COMPLETION)
@on_sqlite
def test_a_warm_shutdown_lets_the_step_finish(redis_broker: Broker, ledger_url: str, gates: Gates) -> None:
    with client(redis_broker, ledger_url) as agentq, worker_of(redis_broker, ledger_url, 1) as worker:
        workflow = agentq.start(meet.s("done", str(gates.folder), "gate"))
        gates.await_reached("gate")
        os.kill(worker.pid, signal.SIGTERM)
        eventually(lambda: "Warm shutdown" in worker.log(), what="a warm shutdown")
        stopping_at = ledger_time(agentq)
        # The lease must outlast itself while the worker waits for its step.
        eventually(lambda: ledger_time(agentq) - stopping_at > timedelta(seconds=LEASE), what="a whole lease")
        assert row_of(agentq, worker).lease_until > ledger_time(agentq)
        gates.open("gate")
        assert worker.terminate() == 0
        assert workflow.result(0) == "done"
        assert history(workflow) == ["succeeded"]
        assert row_of(agentq, worker).stopped_at is not None


@covers(Fault.STOP, Phase.BODY)
@on_sqlite
@pytest.mark.parametrize("remapped", [False, True], ids=["SIGQUIT", "SIGTERM remapped"])
def test_a_cold_shutdown_gives_the_job_back(
    redis_broker: Broker, ledger_url: str, gates: Gates, remapped: bool
) -> None:
    env = {"REMAP_SIGTERM": "SIGQUIT"} if remapped else {}
    soft = ("--", "worker.soft_shutdown_timeout=1")
    with (
        client(redis_broker, ledger_url) as agentq,
        worker_of(redis_broker, ledger_url, 1, env=env, arguments=soft) as first,
    ):
        workflow = agentq.start(meet.s("done", str(gates.folder), "gate"))
        gates.await_reached("gate")
        attempts_left = job_of(workflow).max_attempts - 1
        with worker_of(redis_broker, ledger_url, 1):
            first.terminate(10, signal.SIGTERM if remapped else signal.SIGQUIT)
            stopped_at = row_of(agentq, first).stopped_at
            assert stopped_at is not None
            gates.await_reached("gate", 2)
            gates.open("gate")
            assert workflow.result(20) == "done"
        job = job_of(workflow)
        assert history(workflow) == ["released", "succeeded"]
        assert job.max_attempts - job.attempt == attempts_left, "the release cost an attempt"
        again_at = job.attempts[1].started_at
        assert again_at is not None
        assert again_at - stopped_at < timedelta(seconds=LEASE / 2), "it waited for the end of a lease"
        require_sound(agentq)


@covers(Fault.FREEZE, Phase.BODY, Phase.COMPLETION)
@on_sqlite
def test_the_outcome_of_a_frozen_worker_is_discarded(redis_broker: Broker, ledger_url: str, gates: Gates) -> None:
    with client(redis_broker, ledger_url) as agentq, worker_of(redis_broker, ledger_url, 1) as first:
        workflow = agentq.start(pid_after.s(str(gates.folder), "gate"))
        gates.await_reached("gate")
        # In a transaction of the test's own, so that it does not freeze with the lock of the database.
        agentq.ledger.write(lambda _: first.freeze())
        with worker_of(redis_broker, ledger_url, 1):
            gates.await_reached("gate", 2)
            gates.open("gate")
            first_pid, second_pid = gates.pids("gate")
            assert workflow.result(20) == second_pid
            # First the process that runs the step: the worker itself would stop it, if it were the faster one.
            os.kill(first_pid, signal.SIGCONT)
            eventually(lambda: "its outcome was discarded" in first.log(), what="a word on the stale outcome")
            first.thaw()
            assert workflow.result(0) == second_pid
            assert history(workflow) == ["lost", "succeeded"]
            require_sound(agentq)


@covers(Fault.BROKER_DOWN, Phase.START, Phase.DISPATCH)
@on_sqlite
def test_a_start_needs_no_broker(redis_broker: Broker, ledger_url: str) -> None:
    with client(redis_broker, ledger_url) as agentq, worker_of(redis_broker, ledger_url) as worker:
        agentq.ensure_ledger()
        redis_broker.kill()
        before = time.monotonic()
        workflow = agentq.start(add.s(1, 2) | add.s(3))
        assert time.monotonic() - before < 1
        redis_broker.start()
        assert workflow.result(20) == 6
        assert worker.is_alive


@covers(Fault.DUPLICATE, Phase.CLAIM, Phase.BODY, Phase.COMPLETION)
@on_sqlite
def test_a_message_that_comes_again_starts_nothing(redis_broker: Broker, ledger_url: str, gates: Gates) -> None:
    with client(redis_broker, ledger_url) as agentq:
        workflow = agentq.start(meet.s("done", str(gates.folder), "gate"))
        publish = taken_message(agentq, redis_broker)
        with worker_of(redis_broker, ledger_url) as worker:
            publish()
            gates.await_reached("gate")
            publish()
            eventually(lambda: "is running already: message dropped" in worker.log(), what="a dropped message")
            gates.open("gate")
            assert workflow.result(20) == "done"
            publish()
            eventually(lambda: "is succeeded already: message dropped" in worker.log(), what="another one")
        assert gates.reached("gate") == job_of(workflow).attempt == 1
        assert history(workflow) == ["succeeded"]
        require_sound(agentq)
