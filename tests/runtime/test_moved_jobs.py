"""A job in a queue that no process consumes is moved to one that a worker does, and runs there once."""

from __future__ import annotations

import pytest

from agentq.operations import jobs
from agentq.states import JobStatus
from tests.faults.broker.shared import SETTINGS, ran_once
from tests.runtime.queries import job_of, require_sound
from tests.support import Broker, Worker, client, eventually
from tests.support.steps import add

pytestmark = pytest.mark.parametrize("database", ["sqlite"], indirect=True, scope="session")


@pytest.mark.parametrize("kind", ["redis", "rabbitmq"])
def test_a_moved_job_runs_in_its_new_queue_and_its_old_message_runs_nothing(
    request: pytest.FixtureRequest, ledger_url: str, kind: str
) -> None:
    broker: Broker = request.getfixturevalue(f"{kind}_broker")
    shut = f"{broker.queue}.shut"
    with client(broker, ledger_url) as app:
        with Worker(broker, ledger_url, settings=SETTINGS) as worker:
            moved, left, away = (app.start(add.s(number, 1).set(queue=shut)) for number in (1, 2, 3))
            waits = f"a worker on queue {shut!r}, which no live worker consumes"
            eventually(lambda: job_of(moved).waiting_for == waits, 20, what="a worker that reported its queues")
            jobs.move(app.ledger, str(job_of(moved).id), broker.queue, actor="ann", reason="nobody is there")
            assert moved.result(20) == 2
            jobs.move(app.ledger, str(job_of(away).id), f"{shut}.too")
            eventually(lambda: job_of(away).status == JobStatus.QUEUED, 20, what="a message to the third queue")
            assert worker.terminate() == 0
        # Now a worker of the old queue alone finds all three messages.
        with Worker(broker, ledger_url, settings=SETTINGS, queues=shut) as worker:
            assert left.result(20) == 3
            eventually(lambda: f"job={job_of(moved).id}] is succeeded already" in worker.log(), 20, what="a drop")
            eventually(
                lambda: f"job={job_of(away).id}] was moved" in worker.log(), 20, what="a message of no effect"
            )
            assert (job_of(away).status, job_of(away).attempt) == (JobStatus.QUEUED, 0)
        assert ran_once(moved, left)
        require_sound(app)
