"""The asyncio pool: async steps hold no thread while they wait, and everything else is as on every pool."""

from __future__ import annotations

import asyncio
import signal
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import pytest
from celery import Celery, group
from celery.exceptions import Terminated

from agentq import AgentQ
from agentq.exceptions import StepFailed, WorkflowCancelled
from agentq.operations import dead_letters
from agentq.runtime.bridge import loop
from agentq.runtime.bridge.asyncio_pool import TaskPool
from tests.faults.worker.place import worker_of
from tests.runtime.limited import save_in_time, save_in_time_too, wait
from tests.runtime.queries import history, require_sound
from tests.runtime.stack import Stack, stack
from tests.runtime.waiting import fail_later, hold, say, stay
from tests.support import Broker, Gates, Worker, client, eventually
from tests.support.steps import add, meet, plain, total, whoami

on_sqlite = pytest.mark.parametrize("database", ["sqlite"], indirect=True, scope="session")

KNOWN = ("-I", "tests.runtime.limited,tests.runtime.waiting")
OTHERS = 20
"""Threads of a worker on this pool that runs nothing but coroutines, at most: its carriers, loop, caretaker, …"""


@contextmanager
def waiting_place(broker: Broker, ledger_url: str, *further: str, **worker: Any) -> Iterator[Stack]:
    settings = {"lease": 2, "cancel_grace": 0.5, "redispatch_after": 1}
    arguments = (*KNOWN, *further)
    with stack(broker, ledger_url, pool="asyncio", arguments=arguments, settings=settings, **worker) as at:
        yield at
        require_sound(at.agentq)


def threads_of(worker: Worker) -> int:
    (line,) = (
        line for line in Path(f"/proc/{worker.pid}/status").read_text().splitlines() if line.startswith("Threads")
    )
    return int(line.split()[1])


def end_of(workflow: Any) -> tuple[str | None, str]:
    """The category and the class of the error that a workflow failed of."""
    with pytest.raises(StepFailed) as failure:
        workflow.result(20)
    return failure.value.category, failure.value.error_class


def test_many_async_steps_wait_at_once_in_few_threads(redis_broker: Broker, ledger_url: str, gates: Gates) -> None:
    with waiting_place(redis_broker, ledger_url, concurrency=150) as at:
        jobs = group(hold.s(number, str(gates.folder), "all") for number in range(150))
        workflow = at.agentq.start(jobs | total.s())
        gates.await_reached("all", 150, seconds=40)
        assert threads_of(at.worker) <= OTHERS
        gates.open("all")
        assert workflow.result(40) == sum(range(150))


@on_sqlite
def test_no_more_jobs_run_at_once_than_the_concurrency_says(
    redis_broker: Broker, ledger_url: str, gates: Gates
) -> None:
    arguments = (*KNOWN, "--prefetch-multiplier=8")
    with stack(redis_broker, ledger_url, pool="asyncio", concurrency=2, arguments=arguments) as at:
        workflow = at.agentq.start(group(hold.s(number, str(gates.folder), "pair") for number in range(6)))
        gates.await_reached("pair", 2)
        eventually(lambda: reserved(at) == 6, what="six messages in the worker's hands")
        assert gates.reached("pair") == 2
        gates.open("pair")
        assert workflow.result(20) == list(range(6))


def reserved(at: Stack) -> int:
    """The number of messages that the worker has reserved, as Celery says."""
    inspect = at.agentq.app.control.inspect(timeout=5, limit=1)
    return sum(len(items) for items in (*inspect.reserved().values(), *inspect.active().values()))


@on_sqlite
def test_synchronous_steps_and_plain_tasks_run_beside_those_that_wait(
    redis_broker: Broker, ledger_url: str, gates: Gates
) -> None:
    folder = str(gates.folder)
    with waiting_place(redis_broker, ledger_url, concurrency=8) as at:
        held = at.agentq.start(group(meet.s(number, folder, "sync") for number in range(5)) | total.s())
        gates.await_reached("sync", 5)
        assert at.agentq.start(add.s(1, 2) | plain.s()).result(20) == 3
        assert whoami.delay(4).result(20)["value"] == 4
        gates.open("sync")
        assert held.result(20) == 10


@on_sqlite
def test_both_limits_of_a_coroutine_hold(redis_broker: Broker, ledger_url: str, gates: Gates) -> None:
    with waiting_place(redis_broker, ledger_url, concurrency=1) as at:
        (warning,) = (line for line in at.worker.log().splitlines() if "pool cannot end a step" in line)
        assert save_in_time.name in warning
        assert wait.name not in warning
        soft, hard = (f"billiard.exceptions.{name}" for name in ("SoftTimeLimitExceeded", "TimeLimitExceeded"))
        assert end_of(at.agentq.start(save_in_time_too.s(str(gates.folder)))) == ("timed_out", soft)
        assert gates.reached("saved") == 1
        assert end_of(at.agentq.start(wait.s(20))) == ("timed_out", hard)
        assert end_of(at.agentq.start(stay.s(str(gates.folder)))) == ("timed_out", hard)
        gates.await_reached("asked to end", 2)  # at both limits
        assert at.agentq.start(wait.s(0.01)).result(20) == "done"


@on_sqlite
def test_a_coroutine_whose_job_is_cancelled_is_cancelled_and_leaves_its_slot(
    redis_broker: Broker, ledger_url: str, gates: Gates
) -> None:
    with waiting_place(redis_broker, ledger_url, concurrency=1) as at:
        workflow = at.agentq.start(hold.s(1, str(gates.folder), "unwanted"))
        gates.await_reached("unwanted")
        workflow.cancel(reason="nobody wants it")
        gates.await_reached("unwanted cancelled")
        assert at.agentq.start(wait.s(0.01)).result(20) == "done"
        with pytest.raises(WorkflowCancelled):
            workflow.result(1)


def test_a_coroutine_that_is_revoked_is_cancelled_and_does_not_run_again(
    redis_broker: Broker, ledger_url: str, gates: Gates
) -> None:
    with waiting_place(redis_broker, ledger_url, concurrency=1) as at:
        workflow = at.agentq.start(hold.s(1, str(gates.folder), "revoked"))
        gates.await_reached("revoked")
        at.agentq.app.control.revoke(str(workflow.jobs()[0].id), terminate=True, reply=True, limit=1, timeout=10)
        with pytest.raises(WorkflowCancelled, match="it was revoked"):
            workflow.result(20)
        assert (gates.reached("revoked"), gates.reached("revoked cancelled")) == (1, 1)
        assert at.agentq.start(wait.s(0.01)).result(20) == "done"


def test_celery_acknowledges_what_it_revokes_before_the_job_is_stopped() -> None:
    """Both ends of a revoked job acknowledge its message; at the same time, that would end the worker."""
    app = Celery(set_as_current=False)

    @app.task(name="endless")
    async def endless() -> None:
        await asyncio.Event().wait()

    def run(*_: Any) -> None:
        loop.resolve(endless.run(), None, None, uuid.uuid4())

    accepted, failed = SimpleQueue[int](), SimpleQueue[Any]()
    pool = TaskPool(1, app=app)
    pool.start()
    callbacks = {
        "accept_callback": lambda pid, at: accepted.put(pid),
        "callback": None,
        "error_callback": failed.put,
    }
    job = pool.on_apply(run, (endless.name, "id", {}), **callbacks)
    pool.terminate_job(accepted.get(timeout=10), signal.SIGTERM)
    with pytest.raises(Empty):  # it goes on, until Celery, after the acknowledgement, stops it by its result
        failed.get(timeout=0.5)
    job.terminate(signal.SIGTERM)
    assert failed.get(timeout=10).type is Terminated
    pool.stop()


@on_sqlite
def test_a_synchronous_step_cannot_be_terminated_and_ends_by_itself(
    redis_broker: Broker, ledger_url: str, gates: Gates
) -> None:
    with waiting_place(redis_broker, ledger_url, concurrency=1) as at:
        workflow = at.agentq.start(meet.s(1, str(gates.folder), "kept"))
        gates.await_reached("kept")
        workflow.cancel(reason="nobody wants it")
        eventually(lambda: "cannot stop a synchronous step" in at.worker.log(), what="a word on what goes on")
        gates.open("kept")
        eventually(lambda: "its outcome was discarded" in at.worker.log(), what="a word on the outcome")


def test_waiting_steps_of_a_killed_worker_run_again_elsewhere(
    redis_broker: Broker, ledger_url: str, gates: Gates
) -> None:
    folder = str(gates.folder)
    options = {"pool": "asyncio", "concurrency": 20, "arguments": KNOWN}
    with client(redis_broker, ledger_url) as agentq:
        with worker_of(redis_broker, ledger_url, **options) as first:
            workflow = agentq.start(group(hold.s(number, folder, "lost") for number in range(20)) | total.s())
            gates.await_reached("lost", 20)
            first.kill()
        gates.open("lost")
        with worker_of(redis_broker, ledger_url, **options):
            assert workflow.result(30) == sum(range(20))
        assert gates.reached("lost") == 40
        assert history(workflow) == ["lost", "succeeded"]
        require_sound(agentq)


@pytest.mark.parametrize("fixture", ["redis_broker", "rabbitmq_broker"])
@on_sqlite
def test_a_worker_that_is_asked_to_stop_lets_its_coroutines_end(
    fixture: str, ledger_url: str, gates: Gates, request: pytest.FixtureRequest
) -> None:
    broker: Broker = request.getfixturevalue(fixture)
    options = {"pool": "asyncio", "concurrency": 5, "arguments": KNOWN}
    with client(broker, ledger_url) as agentq, worker_of(broker, ledger_url, **options) as worker:
        started = [agentq.start(hold.s(number, str(gates.folder), "last")) for number in range(8)]
        gates.await_reached("last", 5)
        ending = threading.Thread(target=worker.terminate)
        ending.start()
        eventually(lambda: "Warm shutdown" in worker.log(), what="a warm shutdown")
        gates.open("last")
        ending.join(20)
        assert not worker.is_alive
        assert "Traceback" not in worker.log()
        ended = [workflow for workflow in started if workflow.ready()]
        assert len(ended) == 5  # nothing begins any more
        assert [history(workflow) for workflow in ended] == [["succeeded"]] * 5
        with worker_of(broker, ledger_url, **options):
            assert [workflow.result(20) for workflow in started] == list(range(8))
        assert [history(workflow) for workflow in started] == [["succeeded"]] * 8
        require_sound(agentq)


@on_sqlite
def test_a_worker_past_its_grace_period_gives_its_coroutines_back(
    redis_broker: Broker, ledger_url: str, gates: Gates
) -> None:
    options = {"pool": "asyncio", "concurrency": 30}
    soft = (*KNOWN, "--", "worker.soft_shutdown_timeout=0.5")
    env = {"REMAP_SIGTERM": "SIGQUIT"}
    with client(redis_broker, ledger_url) as agentq:
        with worker_of(redis_broker, ledger_url, env=env, arguments=soft, **options) as worker:
            jobs = (hold.s(number, str(gates.folder), "impatient") for number in range(30))
            workflow = agentq.start(group(jobs) | total.s())
            gates.await_reached("impatient", 30)
            worker.terminate(30)
        gates.open("impatient")
        with worker_of(redis_broker, ledger_url, arguments=KNOWN, **options):
            assert workflow.result(20) == sum(range(30))
        held = [job for job in workflow.jobs() if job.step == hold.name]
        outcomes = [[str(attempt.outcome) for attempt in job.attempts] for job in held]
        assert outcomes == [["released", "succeeded"]] * 30
        require_sound(agentq)


@on_sqlite
def test_a_synchronous_step_ends_before_its_worker_does(
    redis_broker: Broker, ledger_url: str, gates: Gates
) -> None:
    soft = (*KNOWN, "--", "worker.soft_shutdown_timeout=0.5")
    options: dict[str, Any] = {"env": {"REMAP_SIGTERM": "SIGQUIT"}, "arguments": soft, "pool": "asyncio"}
    with client(redis_broker, ledger_url) as agentq, worker_of(redis_broker, ledger_url, **options) as worker:
        workflow = agentq.start(meet.s(1, str(gates.folder), "blocking"))
        gates.await_reached("blocking")
        ending = threading.Thread(target=worker.terminate)
        ending.start()
        eventually(lambda: "cannot stop a synchronous step" in worker.log(), what="a cold shutdown")
        gates.open("blocking")
        ending.join(20)
        assert not worker.is_alive
        assert "Traceback" not in worker.log()
        assert workflow.result(1) == 1
        assert history(workflow) == ["succeeded"]


@on_sqlite
def test_a_failing_coroutine_is_tried_again_and_becomes_a_dead_letter(
    redis_broker: Broker, ledger_url: str, gates: Gates
) -> None:
    with waiting_place(redis_broker, ledger_url, concurrency=4) as at:
        workflow = at.agentq.start(fail_later.s(str(gates.folder)))
        assert end_of(workflow) == ("connection", "ConnectionError")
        assert gates.reached("failing") == 2
        assert history(workflow) == ["retried", "failed"]
        wanted = dead_letters.DeadLetterFilter()
        (letter,) = eventually(lambda: dead_letters.list_(at.agentq.ledger, wanted), what="a dead letter")
        assert letter.step == fail_later.name


@on_sqlite
def test_signals_surround_each_job_in_its_own_context(
    redis_broker: Broker, ledger_url: str, tmp_path: Path, gates: Gates
) -> None:
    env = {"AGENTQ_TEST_FOLDER": str(tmp_path)}
    with waiting_place(redis_broker, ledger_url, concurrency=30, env=env) as at:
        jobs: list[str] = at.agentq.start(group(say.s(str(gates.folder)) for _ in range(30))).result(20)
    written = [(tmp_path / job_id).read_text().splitlines() for job_id in jobs]
    assert written == [["prerun", "ran in True", "postrun SUCCESS in True"]] * 30


@on_sqlite
def test_flower_shows_coroutines_as_other_steps(redis_broker: Broker, ledger_url: str, gates: Gates) -> None:
    with waiting_place(redis_broker, ledger_url, "-E", concurrency=4) as at, events(at.agentq) as seen:
        at.agentq.start(hold.s(1, str(gates.folder), "seen"))
        eventually(lambda: "task-started" in seen, what="a start")
        gates.open("seen")
        end_of(at.agentq.start(fail_later.s(str(gates.folder))))
        eventually(lambda: {"task-succeeded", "task-retried", "task-failed"} <= {*seen}, what="all ends")


@contextmanager
def events(agentq: AgentQ) -> Iterator[list[str]]:
    """The kinds of the events of tasks, as they come."""
    seen: list[str] = []
    with agentq.app.connection_for_read() as connection:
        receiver = agentq.app.events.Receiver(connection, handlers={"*": lambda event: seen.append(event["type"])})
        thread = threading.Thread(target=receiver.capture, kwargs={"wakeup": False}, daemon=True)
        thread.start()
        try:
            yield seen
        finally:
            receiver.should_stop = True
            thread.join(5)
