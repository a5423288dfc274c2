"""The log of a worker: what each line says of a job, and how few lines there are."""

from __future__ import annotations

import re
import signal

import pytest

from agentq.exceptions import StepFailed
from tests.faults.worker.steps import crash, ignore_limits, miss_its_deadline, never_return
from tests.runtime.logged import MODULE, await_logged, reported
from tests.runtime.queries import job_of
from tests.runtime.stack import stack
from tests.support import Broker, Gates, Worker, eventually
from tests.support.steps import add, fail, flaky, meet

pytestmark = pytest.mark.parametrize("database", ["sqlite"], indirect=True, scope="session")
POOLS = ["prefork", "threads", "asyncio"]
SOON = ("--", "worker.soft_shutdown_timeout=0.5")
STEPS = ("-I", "tests.faults.worker.steps")


@pytest.mark.parametrize("pool", POOLS)
def test_a_step_that_fails_is_a_line_for_each_attempt_and_a_traceback_at_the_end(
    redis_broker: Broker, ledger_url: str, pool: str
) -> None:
    with stack(redis_broker, ledger_url, module=MODULE, pool=pool) as at:
        retried, failed = at.agentq.start(flaky.s(1, failures=1)), at.agentq.start(fail.s("it is broken"))
        assert retried.result(20) == 1
        with pytest.raises(StepFailed):
            failed.result(20)
        job = job_of(failed).id
        (error,) = await_logged(at.worker, "failed for good", "ERROR")
        assert error == (
            f"[{fail.name} job={job} attempt=1] failed for good (attempts: 1 of 1): ValueError: it is broken; "
            f"it is a dead letter (invalid_input: never retried); see: agentq jobs show {job}"
        )
        assert at.worker.log().count("Traceback") == 1
        (warning,) = reported(at.worker, "WARNING")
        assert warning == (
            f"[{flaky.name} job={job_of(retried).id} attempt=1] failed (attempts: 1 of 5): ConnectionError: "
            "failure 1 of 1; it is tried again in 0.5 s (connection: attempt 2 of 5)"
        )


def test_a_process_that_is_gone_is_a_line_that_says_what_becomes_of_its_job(
    redis_broker: Broker, ledger_url: str, gates: Gates
) -> None:
    with stack(redis_broker, ledger_url, module=MODULE, arguments=STEPS) as at:
        workflow = at.agentq.start(crash.s(str(gates.folder), "segfault"))
        with pytest.raises(StepFailed):
            workflow.result(30)
        label = f"[{crash.name} job={job_of(workflow).id} attempt="
        error = await_logged(at.worker, "failed for good", "ERROR")[0]  # a handler of these steps raises after it
        assert error.startswith(
            f"{label}2] was lost, and failed for good: the process that ran it is gone; it is a"
        )
        (warning,) = reported(at.worker, "WARNING")
        assert warning.startswith(f"{label}1] was lost: the process that ran it is gone; it is tried again ")
        assert "WorkerLostError" not in at.worker.log()


def test_a_step_that_ran_into_its_hard_limit_was_stopped(
    redis_broker: Broker, ledger_url: str, gates: Gates
) -> None:
    with stack(redis_broker, ledger_url, module=MODULE, arguments=STEPS) as at:
        at.agentq.start(ignore_limits.s(str(gates.folder)), retry="none")
        (error,) = await_logged(at.worker, "failed for good", "ERROR")
        assert "] was stopped, and failed for good: the attempt ran into its hard time limit" in error


@pytest.mark.parametrize("pool", POOLS)
def test_a_worker_that_is_gone_is_one_line_and_one_for_each_of_its_jobs(
    redis_broker: Broker, ledger_url: str, gates: Gates, pool: str
) -> None:
    settings = {"lease": 2}
    with stack(redis_broker, ledger_url, module=MODULE, pool=pool, concurrency=1, settings=settings) as at:
        other = Worker(redis_broker, ledger_url, concurrency=3, settings=settings)
        with other:
            jobs = {job_of(at.agentq.start(meet.s(1, str(gates.folder), "gate"))).id for _ in range(4)}
            gates.await_reached("gate", 4)
            other.kill()
            lines = await_logged(at.worker, f"worker {other.name} is gone; ", "WARNING")
        eventually(lambda: len(reported(at.worker, "WARNING")) == 4, 20, what="a line for each job")
        gates.open("gate")
        lines = reported(at.worker, "WARNING")
        assert lines[0] == f"worker {other.name} is gone: its lease is over, and 3 jobs that it ran are taken over"
        found = [
            re.fullmatch(rf"\[{meet.name} job=(\S+) attempt=1\] was lost: .* it is tried .*", line)
            for line in lines[1:]
        ]
        named = {match[1] for match in found if match is not None}
        assert len(named) == 3
        assert named < {str(job) for job in jobs}


def test_a_step_that_is_stopped_since_its_job_was_cancelled_is_no_warning(
    redis_broker: Broker, ledger_url: str, gates: Gates
) -> None:
    settings = {"cancel_grace": 0.5}
    with stack(redis_broker, ledger_url, module=MODULE, settings=settings, arguments=STEPS) as at:
        workflow = at.agentq.start(never_return.s(str(gates.folder)))
        gates.await_reached("never_return")
        workflow.cancel("enough")
        lines = await_logged(at.worker, "is stopped", "INFO")
        assert f"[{never_return.name} job={job_of(workflow).id}] its step is stopped: it is cancelled" in lines
        assert at.agentq.start(add.s(1, 2)).result(20) == 3
        assert reported(at.worker, "WARNING", "ERROR") == []


def test_a_job_that_fails_by_its_deadline_is_an_error(redis_broker: Broker, ledger_url: str, gates: Gates) -> None:
    with stack(redis_broker, ledger_url, module=MODULE, settings={"cancel_grace": 0.5}, arguments=STEPS) as at:
        workflow = at.agentq.start(miss_its_deadline.s(str(gates.folder)))
        with pytest.raises(StepFailed):
            workflow.result(20)
        job = job_of(workflow).id
        error = await_logged(at.worker, "failed for good", "ERROR")[0]
        assert error == (
            f"[{miss_its_deadline.name} job={job}] failed for good: the job was not done within its "
            f"deadline; it is a dead letter; see: agentq jobs show {job}"
        )


def test_refused_messages_of_a_kind_are_two_lines_for_twelve_and_none_of_many(
    redis_broker: Broker, ledger_url: str
) -> None:
    with stack(redis_broker, ledger_url, module=MODULE, concurrency=1) as at:
        for number in range(12):
            at.agentq.app.send_task("shop.old", [f"argument {number}"], queue=redis_broker.queue)
        lines = await_logged(at.worker, "10 messages", "ERROR")
        assert at.agentq.start(add.s(1, 2)).result(20) == 3
        why = (
            f"refused and counted in a dead letter, for task 'shop.old' of queue {redis_broker.queue!r}: no task "
            "named 'shop.old' is registered in this worker; import its module where this worker starts, or stop "
            "what sends it"
        )
        assert lines == [f"a message was {why}", f"10 messages were {why}"]
        log = at.worker.log()
        assert [text for text in ("Traceback", "argument 1", "Received unregistered") if text in log] == []


def test_a_worker_says_at_its_start_what_it_is_and_which_steps_it_does_not_serve(
    redis_broker: Broker, ledger_url: str
) -> None:
    with stack(
        redis_broker, ledger_url, module=MODULE, pool="threads", concurrency=3, settings={"lease": 7}
    ) as at:
        first, consumes, others = reported(at.worker, "INFO")[:3]
        assert re.fullmatch(
            rf"worker {at.worker.name} of agentq \S+: ledger \S+ \(schema \d+\), lease 7 s, "
            "threads pool with a concurrency of 3",
            first,
        )
        assert f"queues {redis_broker.queue}, {redis_broker.dead_letters}, and so runs" in consumes
        assert others == (
            f"worker {at.worker.name} consumes no queue of 1 step, whose jobs wait for other workers: "
            f"elsewhere ({MODULE}.done_elsewhere)"
        )


def test_a_worker_says_at_its_end_what_it_gave_back(redis_broker: Broker, ledger_url: str, gates: Gates) -> None:
    with stack(redis_broker, ledger_url, module=MODULE, concurrency=1, arguments=SOON) as at:
        workflow = at.agentq.start(meet.s(1, str(gates.folder), "gate"))
        gates.await_reached("gate")
        at.worker.terminate(number=signal.SIGQUIT)
        assert reported(at.worker, "INFO")[-1] == (
            f"worker {at.worker.name} has signed off, and gave back 1 job at no cost, for other workers: "
            f"{meet.name} (job {job_of(workflow).id})"
        )
