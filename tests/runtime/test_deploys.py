"""Workers of two releases on one queue: each job is run by a worker that knows its step, and soon."""

from __future__ import annotations

import pytest

from agentq import AgentQ
from agentq.canvas.graph import Graph, Node
from agentq.operations import dead_letters, health, jobs, queues, workers
from agentq.operations.dead_letters import DeadLetterFilter
from agentq.operations.health import Level
from agentq.operations.jobs import JobFilter
from agentq.states import JobKind, JobStatus
from tests.faults.broker.shared import SETTINGS, depth, worker_of
from tests.faults.broker.steps import newer, wait_plainly
from tests.runtime.queries import job_of, require_sound, row_of
from tests.support import Broker, Gates, Worker, client, eventually
from tests.support.steps import add

pytestmark = pytest.mark.parametrize("database", ["sqlite"], indirect=True, scope="session")


def test_an_old_release_delays_no_job_of_a_new_step(redis_broker: Broker, ledger_url: str, gates: Gates) -> None:
    settings = SETTINGS | {"redispatch_after": 60}
    with client(redis_broker, ledger_url) as app, Worker(redis_broker, ledger_url, settings=settings) as older:
        workflows = [app.start(newer.s(number, str(gates.folder), "ran")) for number in range(10)]
        eventually(lambda: "does not know step" in older.log(), 20, what="a worker that passes jobs on")
        assert {job_of(workflow).attempt for workflow in workflows} == {0}
        with worker_of(redis_broker, ledger_url):
            assert [workflow.result(30) for workflow in workflows] == list(range(10))
            again = [app.start(newer.s(number, str(gates.folder), "ran")) for number in range(10)]
            assert [workflow.result(10) for workflow in again] == list(range(10))
        assert older.log().count("does not know step") == 1
        assert row_of(app, older).refused_messages == 0
        assert dead_letters.list_(app.ledger, DeadLetterFilter(status=None)) == []
        require_sound(app)


def test_jobs_of_a_removed_step_hold_up_nothing_and_fill_neither_log_nor_queue(
    redis_broker: Broker, ledger_url: str, gates: Gates
) -> None:
    removed = [newer.s(number, str(gates.folder), "ran") for number in range(2_000)]
    with client(redis_broker, ledger_url) as app, Worker(redis_broker, ledger_url, settings=SETTINGS) as worker:
        app.start_many(removed)
        for _ in range(2):
            good = [app.start(add.s(number, 1)) for number in range(20)]
            assert [workflow.result(20) for workflow in good] == list(range(1, 21))
        sent = {job.id: job for job in jobs.list_(app.ledger, JobFilter(step=newer.name), limit=2_000)}
        reason = f"no live worker knows step {newer.name!r}; 1 live worker was asked"
        assert {job.waiting_for for job in sent.values()} == {f"a worker that knows it: {reason}"}
        (finding,) = [one for one in health.examine(app.ledger) if one.level is not Level.OK]
        assert finding.what == f"2000 job(s) on queue {redis_broker.queue!r} wait: {reason}"
        assert f"step(name={newer.name!r})" in finding.fix
        # The look for lost messages has come and gone, and has sent none of these again.
        eventually(lambda: ages_of_queued(app) > 3 * SETTINGS["redispatch_after"], 20, what="time for a look")
        assert depth(app, redis_broker) == 0
        assert worker.log().count(newer.name) == 1
        assert len(worker.log()) < 25_000
        assert workers.get(app.ledger, str(row_of(app, worker).id)).queues == [
            redis_broker.queue,
            redis_broker.dead_letters,
        ]


def ages_of_queued(app: AgentQ) -> float:
    """Seconds since the last message was sent of the queued job that waits longest."""
    return max((queue.oldest_seconds or 0.0 for queue in queues.list_(app.ledger)), default=0.0)


def test_beside_a_worker_that_knows_the_step_it_is_said_how_many_do(
    redis_broker: Broker, ledger_url: str, gates: Gates
) -> None:
    with (
        client(redis_broker, ledger_url) as app,
        Worker(redis_broker, ledger_url, settings=SETTINGS),
        worker_of(redis_broker, ledger_url, concurrency=1),
    ):
        app.start(wait_plainly.s(str(gates.folder)))
        gates.await_reached("plain")
        waiting = app.start(newer.s(1, str(gates.folder), "ran"))
        where = f"a worker on queue {redis_broker.queue!r} that knows step {newer.name!r}"
        wanted = f"{where}: 1 of 2 live workers there do"
        eventually(lambda: job_of(waiting).waiting_for == wanted, 20, what="a worker that answered")
        gates.open("plain")
        assert waiting.result(20) == 1


def test_a_plain_task_that_a_worker_does_not_have_waits_for_one_that_does(
    redis_broker: Broker, ledger_url: str, gates: Gates
) -> None:
    with client(redis_broker, ledger_url) as app:
        with Worker(redis_broker, ledger_url, settings=SETTINGS) as older:
            workflow = app.start(wait_plainly.s(str(gates.folder)))
            eventually(lambda: "does not know task" in older.log(), 20, what="a task that waits")
            asked = "no live worker knows task 'tests.faults.broker.steps.wait_plainly'; 1 live worker was asked"
            eventually(lambda: asked in (job_of(workflow).waiting_for or ""), 20, what="a worker that answered")
            (finding,) = [one for one in health.examine(app.ledger) if one.level is not Level.OK]
            assert "app.task(name='tests.faults.broker.steps.wait_plainly')" in finding.fix
            assert (job_of(workflow).status, job_of(workflow).attempt) == (JobStatus.QUEUED, 0)
        gates.open("plain")
        with worker_of(redis_broker, ledger_url):
            workflow.result(30)
        require_sound(app)


@pytest.mark.parametrize("knows_agentq", [True, False])
def test_a_plain_task_of_the_name_of_a_step_never_runs_for_its_job(
    redis_broker: Broker, ledger_url: str, gates: Gates, knows_agentq: bool
) -> None:
    module = f"tests.runtime.rolled_back{'' if knows_agentq else '_bare'}"
    with client(redis_broker, ledger_url) as app:
        env = {"ROLLED_BACK_FOLDER": str(gates.folder)}
        with Worker(redis_broker, ledger_url, module=module, settings=SETTINGS, env=env) as older:
            # In the one lane of Redis that a worker without agentq reads as well.
            workflow = app.start(newer.s(1, str(gates.folder), "ran"), priority=9)
            refused = "does not know step" if knows_agentq else "invalid ETA value"
            eventually(lambda: refused in older.log(), 20, what="a message that is not run")
        with worker_of(redis_broker, ledger_url):
            assert workflow.result(30) == 1
        assert gates.reached("plainly") == 0


def test_a_field_of_a_canvas_that_only_another_release_has_is_left_out(database: str) -> None:
    data = Graph([Node(JobKind.STEP, "find")], 0, 0).to_data()
    data["nodes"][0]["limit_key"] = "provider"
    assert Graph.from_data(data).nodes == [Node(JobKind.STEP, "find")]
