"""The actions of workers and caretakers, each at least once, on a ledger that a real worker works for."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from celery import chain, group
from sqlalchemy import select

from agentq import AgentQ, Workflow, each
from agentq.exceptions import StepFailed, WorkflowCancelled
from agentq.ledger import moves
from agentq.ledger.models import JobRow
from agentq.ledger.records import dispatch_of
from agentq.outcomes import Leave
from agentq.states import JobKind
from tests.support import eventually
from tests.support.fake_worker import FAILURE, FakeWorker
from tests.support.steps import add, echo, fail, flaky, numbers, total


def run_canvases(agentq: AgentQ) -> None:
    """Run every shape of a canvas to its end, and one that fails."""
    running = [
        agentq.start(chain(add.s(1, 2), add.s(3), echo.s())),
        agentq.start(group(add.s(number, 1) for number in range(4)) | total.s()),
        agentq.start(numbers.s(3) | each(add.s(1) | add.s(1)) | total.s()),
        agentq.start(group(numbers.s(2) | each(group(add.s(1), echo.s())), add.s(1, 1)) | echo.s()),
    ]
    for workflow in running:
        workflow.result(60)
        _repeat_messages(agentq, workflow)
    with pytest.raises(StepFailed):
        agentq.start(fail.s("no such thing") | echo.s()).result(60)


def _repeat_messages(agentq: AgentQ, workflow: Workflow[Any]) -> None:
    """Let the messages of what waits for nothing come again: a worker takes them before any later one."""
    first = select(*moves.DISPATCH).where(JobRow.workflow_id == uuid.UUID(workflow.id), JobRow.after_id.is_(None))
    rows = agentq.ledger.read(lambda connection: connection.execute(first).all())
    agentq.dispatcher.publish(dispatch_of(row) for row in rows if row.kind == JobKind.STEP)


def run_caretaker(agentq: AgentQ) -> None:
    """Have something of each kind put right by a caretaker."""
    fake = FakeWorker(agentq.ledger)
    late = agentq.start(add.s(1, 2).set(countdown=3600), deadline=0.1)
    paused = agentq.start(flaky.s("result", 1))
    _lose_a_worker(fake)
    _lose_a_message(fake)
    _expire(fake)
    _miss_a_deadline(fake)
    _leave(fake)
    _revoke_a_running_job(agentq, fake)
    assert paused.result(60) == "result"
    with pytest.raises(WorkflowCancelled):
        late.result(60)


def _lose_a_worker(fake: FakeWorker) -> None:
    claimed = FakeWorker(fake.ledger, lease=-1).begin(add.s(1, 2))
    _eventually(lambda: fake.history(claimed.job_id), "a job that is taken from a worker that is gone")


def _lose_a_message(fake: FakeWorker) -> None:
    (dispatch,) = fake.start(add.s(1, 2)).dispatches
    fake.age(dispatch.job_id, dispatched_at=60)
    _eventually(lambda: fake.job(dispatch.job_id).finished_at, "the end of a job whose message was sent again")


def _expire(fake: FakeWorker) -> None:
    started = fake.start(add.s(1, 2).set(countdown=3600, expires=60))
    fake.age(_first(fake, started.workflow_id), expires_at=1)
    _eventually(lambda: fake.workflow(started.workflow_id).finished_at, "the end of what has expired")


def _miss_a_deadline(fake: FakeWorker) -> None:
    claimed = fake.begin(add.s(1, 2))
    fake.age(claimed.job_id, deadline_at=1)
    _eventually(lambda: fake.history(claimed.job_id), "the end of a job that is past its deadline")


def _leave(fake: FakeWorker) -> None:
    claimed = fake.begin(add.s(1, 2))
    fake.record(claimed, Leave(FAILURE, 0.1, "a worker whose code fits"))
    _eventually(lambda: fake.job(claimed.job_id).finished_at, "the end of a job that was left for another worker")


def _revoke_a_running_job(agentq: AgentQ, fake: FakeWorker) -> None:
    claimed = fake.begin(add.s(1, 2))
    agentq.app.control.revoke(str(claimed.job_id))
    fake.retry(claimed)
    _eventually(
        lambda: fake.workflow(claimed.workflow_id).finished_at, "the end of a revoked job after its attempt"
    )


def _first(fake: FakeWorker, workflow_id: uuid.UUID) -> uuid.UUID:
    first: uuid.UUID = fake.jobs(workflow_id)[0].id
    return first


def _eventually(look: Callable[[], Any], what: str) -> None:
    eventually(look, 60, what=what)
