"""A message that Celery drops because it remembers a revoke, wherever it heard of that."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from unittest.mock import Mock

import pytest
from celery import Celery
from celery.worker import state

from agentq import AgentQ, step
from agentq.runtime.entry.request import StepRequest

JOB = uuid.uuid4()


@step(name="revoked.answer")
def answer() -> int:
    return 42


@pytest.fixture
def caretaker() -> Mock:
    return Mock()


@pytest.fixture
def request_of_a_job(caretaker: Mock) -> Iterator[StepRequest]:
    with Celery("revoked", broker="memory://", set_as_current=False) as app:
        AgentQ(app).caretaker = caretaker
        message = Mock(
            headers={"id": str(JOB), "task": answer.name},
            payload=((str(JOB),), {}, {}),
            properties={},
            delivery_info={},
        )
        yield StepRequest(message, app=app, task=app.tasks[answer.name])
        state.revoked.discard(str(JOB))


def test_a_dropped_message_has_its_job_cancelled(request_of_a_job: StepRequest, caretaker: Mock) -> None:
    state.revoked.add(str(JOB))
    assert request_of_a_job.revoked()
    caretaker.note_revoked.assert_called_once_with(JOB, terminate=True)


def test_a_job_that_nobody_revoked_is_not_cancelled(request_of_a_job: StepRequest, caretaker: Mock) -> None:
    request_of_a_job.time_start, request_of_a_job.worker_pid = 1.0, 4711
    request_of_a_job.terminate(Mock())  # as a caretaker does with what nobody wants any more
    caretaker.note_revoked.assert_not_called()
