"""A dead job is given its result by hand: it fits what the step returns, and the workflow goes on with it."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import pytest
from celery import group
from pydantic import BaseModel, ConfigDict

from agentq import each, step
from agentq.exceptions import ConfigurationError, InvalidResult, ValueTooLarge
from agentq.operations import dead_letters
from agentq.states import DeadLetterStatus, JobStatus, WorkflowStatus
from tests.operations.letters import WHO, ask, die, forget_step
from tests.support.fake_worker import FakeWorker
from tests.support.steps import add, echo, fail, numbers, plain, total


class Colour(StrEnum):
    RED = "red"


class Report(BaseModel):
    """Strict: in Python, only the very types will do; in JSON, what stands for them."""

    model_config = ConfigDict(strict=True)

    colour: Colour
    made: datetime
    pages: int = 1


@step
def report(title: str) -> Report:
    raise NotImplementedError(title)


def test_a_workflow_goes_on_with_the_result_through_its_joins(fake: FakeWorker) -> None:
    started = fake.start(group(add.s(1, 2), add.s(3, 4) | add.s(5)) | total.s() | echo.s())
    dead, alive = map(fake.take, started.dispatches)
    fake.fail(dead)
    fake.run(*fake.succeed(alive, 7).dispatches)
    letter = dead_letters.resolve(fake.ledger, str(dead.job_id), result=30, **WHO)
    assert letter.status == DeadLetterStatus.RESOLVED
    assert [(action.action, action.actor, action.reason) for action in letter.actions] == [
        ("resolve", "ann", "the cause is known")
    ]
    dispatched = fake.due()
    assert [dispatch.step for dispatch in dispatched] == [total.name]
    assert fake.workflow(dead.workflow_id).status == WorkflowStatus.RUNNING
    fake.run(*dispatched)
    assert fake.result(dead.workflow_id) == {"args": [42], "kwargs": {}}


def test_an_each_expands_a_result_by_hand(fake: FakeWorker) -> None:
    claimed = die(fake, numbers.s(2) | each(add.s(1)) | total.s())
    dead_letters.resolve(fake.ledger, str(claimed.job_id), result=[10, 20, 30])
    assert fake.run(*fake.due()) == 4
    assert fake.result(claimed.workflow_id) == 63


def test_the_last_job_ends_its_workflow(fake: FakeWorker) -> None:
    claimed = die(fake, add.s(1, 2))
    dead_letters.resolve(fake.ledger, str(claimed.job_id), result=3)
    assert fake.result(claimed.workflow_id) == 3
    assert fake.due() == []


def test_another_failed_job_keeps_the_workflow_failed(fake: FakeWorker) -> None:
    one, two = map(fake.take, fake.start(group(add.s(1, 2), add.s(3, 4)) | total.s()).dispatches)
    fake.fail(one)
    fake.fail(two)
    dead_letters.resolve(fake.ledger, str(one.job_id), result=3)
    assert fake.workflow(one.workflow_id).status == WorkflowStatus.FAILED


def test_a_result_is_read_as_json_is_and_kept_as_the_step_would_return_it(fake: FakeWorker) -> None:
    claimed = die(fake, report.s("x"))
    given = {"colour": "red", "made": "2026-11-22T05:00:00Z"}
    dead_letters.resolve(fake.ledger, str(claimed.job_id), result=given)
    assert fake.result(claimed.workflow_id) == {**given, "pages": 1}


def test_null_is_a_result_where_the_step_returns_none(fake: FakeWorker) -> None:
    claimed = die(fake, fail.s("x"))
    dead_letters.resolve(fake.ledger, str(claimed.job_id), result=None)
    assert fake.result(claimed.workflow_id) is None


def test_a_result_that_does_not_fit_is_refused_and_changes_nothing(fake: FakeWorker) -> None:
    claimed = die(fake, ask.s("one"))
    with pytest.raises(InvalidResult, match=r"result.one: Input should be a valid integer.*Nothing was changed"):
        dead_letters.resolve(fake.ledger, str(claimed.job_id), result={"one": "many"})
    with pytest.raises(InvalidResult, match=r"NaN|nan"):
        dead_letters.resolve(fake.ledger, str(claimed.job_id), result=float("nan"))
    with pytest.raises(ValueTooLarge, match="over the limit of 1,024"):
        dead_letters.resolve(fake.ledger, str(claimed.job_id), result={"x" * 1_024: 1}, max_value_bytes=1_024)
    assert fake.job(claimed.job_id).status == JobStatus.FAILED
    assert dead_letters.get(fake.ledger, str(claimed.job_id)).status == DeadLetterStatus.OPEN


def test_a_step_that_no_code_has_is_resolved_only_on_purpose(fake: FakeWorker) -> None:
    claimed = die(fake, ask.s("one"))
    forget_step(fake, claimed.job_id)
    with pytest.raises(ConfigurationError, match=r"'gone\.step' is not known here.*-A MODULE.*--unchecked"):
        dead_letters.resolve(fake.ledger, str(claimed.job_id), result={"one": 1})
    dead_letters.resolve(fake.ledger, str(claimed.job_id), result={"one": 1}, unchecked=True)
    assert fake.result(claimed.workflow_id) == {"one": 1}


def test_a_plain_task_takes_whatever_is_json(fake: FakeWorker) -> None:
    claimed = die(fake, plain.s(1))
    dead_letters.resolve(fake.ledger, str(claimed.job_id), result=["any", {"thing": None}])
    assert fake.result(claimed.workflow_id) == ["any", {"thing": None}]
