"""A worker whose clock is ten minutes off decides nothing by it: all times that count are the ledger's."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from agentq.exceptions import WorkflowCancelled
from agentq.ledger.db.session import Ledger
from agentq.runtime.workflow import Workflow
from agentq.states import JobStatus
from tests.faults.ledger.shifted import environment
from tests.faults.ledger.steps import clock, start_later
from tests.runtime.queries import history, job_of, ledger_time, require_sound, row_of
from tests.runtime.stack import Stack, stack
from tests.support import Gates, redis_server
from tests.support.fake_worker import FakeWorker
from tests.support.postgres import Postgres
from tests.support.steps import add, count, flaky, meet

LEASE = 4.0
SETTINGS = {"lease": LEASE, "redispatch_after": 0.5, "due_interval": 0.1}
TEN_MINUTES = 600.0


@pytest.fixture(scope="module", params=[TEN_MINUTES, -TEN_MINUTES], ids=["ahead", "behind"])
def running(
    shared_postgres: Postgres, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    """A worker with a shifted clock; the client's and the server's are right."""
    env = environment(tmp_path_factory.mktemp("clock"), request.param)
    steps = ("-I", "tests.faults.ledger.steps")
    with (
        redis_server() as broker,
        stack(broker, shared_postgres.url, settings=SETTINGS, env=env, arguments=steps) as at,
    ):
        seen: datetime = at.agentq.start(clock.s()).result(20)
        assert abs((seen - datetime.now(UTC)).total_seconds() - request.param) < 30, "the clock was not shifted"
        yield at


@pytest.fixture
def at(running: Stack) -> Iterator[Stack]:
    """The place of one test, sound at its end."""
    yield running
    require_sound(running.agentq)


def test_clock_skew_runs_due_jobs_neither_early_nor_late(at: Stack) -> None:
    far = [at.agentq.start(add.s(1, 2).set(countdown=60)), started_by_worker(at, 60)]
    near = [at.agentq.start(add.s(1, 2).set(countdown=0.5)), started_by_worker(at, 0.5)]
    # One sweep looks for both, so when the near ones have run, the far ones have been looked at.
    assert [workflow.result(20) for workflow in near] == [3, 3]
    for workflow in near:
        job = job_of(workflow)
        assert job.started_at is not None
        assert job.started_at - job.created_at >= timedelta(seconds=0.5)
    assert [(job_of(workflow).status, job_of(workflow).attempt) for workflow in far] == [
        (JobStatus.SCHEDULED, 0),
        (JobStatus.SCHEDULED, 0),
    ]


def started_by_worker(at: Stack, seconds: float) -> Workflow[int]:
    """A workflow that a process with the shifted clock started."""
    return at.agentq.workflow(at.agentq.start(start_later.s(seconds)).result(20))


def test_clock_skew_expires_nothing_early(at: Stack) -> None:
    in_time = at.agentq.start(add.s(1, 2).set(expires=60))
    waiting = at.agentq.start(add.s(1, 2).set(expires=60, queue="nobody-listens"))
    late = at.agentq.start(add.s(1, 2).set(expires=0.2, queue="nobody-listens"))
    assert in_time.result(20) == 3
    with pytest.raises(WorkflowCancelled, match="expire"):
        late.result(20)
    assert job_of(waiting).status == JobStatus.QUEUED


def test_clock_skew_rescues_no_job_early(at: Stack, postgres: Postgres, gates: Gates) -> None:
    own = at.agentq.start(meet.s("done", str(gates.folder), "gate"))
    gates.await_reached("gate")
    ledger = Ledger(postgres.url)
    claimed = FakeWorker(ledger, lease=60).begin(count.s(0, str(gates.folder), "held"))
    lost = FakeWorker(ledger, lease=-1).begin(count.s(0, str(gates.folder), "lost"))
    ledger.close()
    # One sweep looks for both, so when the lost one was rescued, the held one has been looked at.
    assert at.agentq.workflow(str(lost.workflow_id)).result(20) == 0
    assert history(at.agentq.workflow(str(lost.workflow_id))) == ["lost", "succeeded"]
    assert history(at.agentq.workflow(str(claimed.workflow_id))) == []
    lease_left = row_of(at.agentq, at.worker).lease_until - ledger_time(at.agentq)
    assert timedelta(0) < lease_left <= timedelta(seconds=LEASE)
    gates.open("gate")
    assert own.result(20) == "done"
    assert history(own) == ["succeeded"]


def test_a_retry_comes_after_its_pause(at: Stack) -> None:
    workflow = at.agentq.start(flaky.s("done", failures=1))
    assert workflow.result(20) == "done"
    first, second = job_of(workflow).attempts
    assert first.finished_at is not None
    assert second.started_at is not None
    assert timedelta(seconds=0.5) <= second.started_at - first.finished_at < timedelta(seconds=15)
    assert abs(second.started_at - ledger_time(at.agentq)) < timedelta(seconds=15)
