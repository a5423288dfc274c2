"""Workers of two releases on one queue: each job is run by a worker that knows its step, and soon."""

from __future__ import annotations

import time

import pytest

from agentq.operations import dead_letters
from agentq.operations.dead_letters import DeadLetterFilter
from agentq.states import JobKind, JobStatus
from agentq.workflows.graph import Graph, Node
from tests.faults.broker.scene import SETTINGS, worker_of
from tests.faults.broker.steps import newer, wait_plainly
from tests.runtime.looks import job_of, require_sound, row_of
from tests.support import Broker, Gates, Worker, client, eventually

pytestmark = pytest.mark.parametrize("database", ["sqlite"], indirect=True, scope="session")


def test_jobs_of_a_new_step_are_not_held_up_by_a_worker_of_the_old_release(
    redis_broker: Broker, ledger_url: str, gates: Gates
) -> None:
    settings = SETTINGS | {"redispatch_after": 60}
    with client(redis_broker, ledger_url) as app, Worker(redis_broker, ledger_url, settings=settings) as older:
        workflows = [app.start(newer.s(number, str(gates.folder), "ran")) for number in range(10)]
        eventually(lambda: "does not know step" in older.log(), 20, what="a worker that passes jobs on")
        assert {job_of(workflow).attempt for workflow in workflows} == {0}
        with worker_of(redis_broker, ledger_url):
            began = time.monotonic()
            assert [workflow.result(30) for workflow in workflows] == list(range(10))
            assert time.monotonic() - began < 20
        assert older.log().count("does not know step") == 1
        assert row_of(app, older).refused_messages == 0
        assert dead_letters.list_(app.ledger, DeadLetterFilter(status=None)) == []
        require_sound(app)


def test_a_plain_task_that_a_worker_does_not_have_waits_for_one_that_does(
    redis_broker: Broker, ledger_url: str, gates: Gates
) -> None:
    with client(redis_broker, ledger_url) as app:
        with Worker(redis_broker, ledger_url, settings=SETTINGS):
            workflow = app.start(wait_plainly.s(str(gates.folder)))
            eventually(lambda: job_of(workflow).status == JobStatus.SCHEDULED, 20, what="a task that waits")
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
