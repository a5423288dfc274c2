"""Attempts on every ledger: a claim counts and fences, an outcome is recorded once."""

from __future__ import annotations

import json
import uuid
from dataclasses import replace

import pytest
from celery import Signature, group

from agentq import each
from agentq.exceptions import StepFailed
from agentq.ledger import moves
from agentq.ledger.caretaking import due_jobs, rescues
from agentq.states import JobStatus, WorkflowStatus
from tests.support.fake_worker import FakeWorker, Recorded
from tests.support.faults import Fault, Phase, covers
from tests.support.steps import add, echo, fail, numbers, total


@covers(Fault.DUPLICATE, Phase.CLAIM)
def test_a_job_is_claimed_once(fake: FakeWorker) -> None:
    (dispatch,) = fake.start(add.s(1, 2)).dispatches
    claimed = fake.take(dispatch)
    assert (claimed.attempt, claimed.step, json.loads(claimed.arguments)) == (1, add.name, [[1, 2], {}])
    assert fake.claim(dispatch) is None
    assert FakeWorker(fake.ledger).claim(dispatch) is None
    job = fake.job(dispatch.job_id)
    assert (job.status, job.attempt, job.worker_id) == (JobStatus.RUNNING, 1, fake.worker_id)


def test_a_message_of_another_name_gets_nothing(fake: FakeWorker) -> None:
    (step,) = fake.start(add.s(1, 2)).dispatches
    (task,) = fake.start(Signature("some.task", (1,))).dispatches
    assert fake.claim(replace(step, step=echo.name)) is None
    assert fake.claim(replace(step, kind="task")) is None
    assert fake.claim(replace(task, kind="step")) is None
    assert {fake.job(dispatch.job_id).attempt for dispatch in (step, task)} == {0}
    assert fake.take(task).step == "some.task"


@covers(Fault.DUPLICATE, Phase.RETRY, Phase.COMPLETION)
def test_only_a_queued_job_can_be_claimed(fake: FakeWorker) -> None:
    started = fake.start(add.s(1, 2) | echo.s())
    (first,) = started.dispatches
    later = fake.jobs(started.workflow_id)[1]
    assert fake.claim(replace(first, job_id=later.id, step=later.step)) is None
    assert fake.claim(replace(first, job_id=uuid.uuid4())) is None
    claimed = fake.take(first)
    fake.retry(claimed, delay=60)
    assert fake.claim(first) is None
    fake.age(first.job_id, due_at=1)
    fake.dispatched_by(lambda tx: due_jobs.dispatch_due(tx, 10))
    fake.succeed(fake.take(first))
    assert fake.claim(first) is None


def test_an_expired_job_is_not_claimed(fake: FakeWorker) -> None:
    (dispatch,) = fake.start(add.s(1, 2).set(expires=60)).dispatches
    fake.age(dispatch.job_id, expires_at=1)
    assert fake.claim(dispatch) is None


@covers(Fault.LOSE_REPLY, Phase.CLAIM)
def test_a_claim_whose_reply_was_lost_is_the_same_claim(fake: FakeWorker) -> None:
    (dispatch,) = fake.start(add.s(1, 2)).dispatches
    token = moves.new_claim_token()
    first, again = fake.claim(dispatch, token), fake.claim(dispatch, token)
    assert first is not None
    assert again is not None
    assert (first.attempt, again.attempt, fake.job(dispatch.job_id).attempt) == (1, 1, 1)
    assert fake.succeed(again, 3).accepted


def test_each_claim_counts_before_the_step_runs(fake: FakeWorker) -> None:
    (dispatch,) = fake.start(add.s(1, 2)).dispatches
    numbers = []
    for _ in range(3):
        claimed = fake.take(dispatch)
        numbers.append((claimed.attempt, fake.job(dispatch.job_id).attempt))
        fake.retry(claimed)
    assert numbers == [(1, 1), (2, 2), (3, 3)]
    assert fake.history(dispatch.job_id) == [(1, "retried"), (2, "retried"), (3, "retried")]


@pytest.mark.unsound
def test_a_job_is_not_claimed_beyond_its_attempts(fake: FakeWorker) -> None:
    (dispatch,) = fake.start(fail.s("x")).dispatches
    fake.retry(fake.take(dispatch))  # a policy would have said: fail; the ledger refuses by itself
    assert fake.claim(dispatch) is None


@pytest.mark.parametrize(
    ("canvas", "inputs"),
    [
        (add.s(1, 2) | echo.s(), 3),
        (add.s(1, 2) | echo.si(), None),
        (group(add.s(1, 2), numbers.s(2)) | echo.s(), [3, [0, 1]]),
        (group(add.s(1, 2), numbers.s(2) | group(total.s(), total.s())) | echo.s(), [3, [1, 1]]),
        (numbers.s(2) | each(add.s(1)) | echo.s(), [1, 2]),
    ],
    ids=["step", "immutable", "join", "join of a join", "each"],
)
def test_a_claim_brings_the_result_it_starts_from(fake: FakeWorker, canvas: Signature, inputs: object) -> None:
    last = fake.run_to_last(*fake.start(canvas).dispatches)
    assert (last.step, last.inputs and json.loads(last.inputs)) == (echo.name, inputs)


def test_success_is_kept_handed_over_and_ends_the_workflow(fake: FakeWorker) -> None:
    started = fake.start(add.s(1, 2) | echo.s())
    (first,) = started.dispatches
    recorded = fake.succeed(fake.take(first), 3)
    assert recorded.accepted
    (second,) = recorded.dispatches
    assert (second.step, second.after_id) == (echo.name, first.job_id)
    assert fake.workflow(started.workflow_id).status == WorkflowStatus.RUNNING
    assert fake.succeed(fake.take(second), "end").dispatches == ()
    assert fake.workflow(started.workflow_id).status == WorkflowStatus.SUCCEEDED
    assert fake.result(started.workflow_id) == "end"
    assert fake.history(first.job_id) == [(1, "succeeded")]


@covers(Fault.FREEZE, Phase.COMPLETION, Phase.RETRY)
def test_a_stale_attempt_cannot_write(fake: FakeWorker) -> None:
    started = fake.start(add.s(1, 2) | echo.s())
    (dispatch,) = started.dispatches
    stale = fake.take(dispatch)
    fake.dispatched_by(lambda tx: rescues.release_all(tx, fake.worker_id))
    current = FakeWorker(fake.ledger).take(dispatch)
    for write in (fake.succeed, fake.retry, fake.fail):
        assert write(stale) == Recorded(False)
    job = fake.job(dispatch.job_id)
    assert (job.status, job.attempt, job.result, job.error_class) == (JobStatus.RUNNING, 2, None, None)
    assert fake.succeed(current, 3).accepted
    assert fake.succeed(stale, "stale") == Recorded(False)
    assert fake.job(dispatch.job_id).result == "3"
    assert fake.history(dispatch.job_id) == [(1, "released"), (2, "succeeded")]


@covers(Fault.LOSE_REPLY, Phase.COMPLETION, Phase.HAND_OVER, Phase.FAN_OUT)
def test_a_success_whose_reply_was_lost_is_accepted_and_started_once(fake: FakeWorker) -> None:
    started = fake.start(add.s(1, 2) | group(echo.s("a"), echo.s("b")))
    claimed = fake.take(started.dispatches[0])
    first, again = fake.succeed(claimed, 3), fake.succeed(claimed, 3)
    assert first.accepted
    assert again.accepted
    assert {dispatch.job_id for dispatch in first.dispatches} == {dispatch.job_id for dispatch in again.dispatches}
    assert fake.history(claimed.job_id) == [(1, "succeeded")]
    fake.take(first.dispatches[0])
    assert [dispatch.job_id for dispatch in fake.succeed(claimed, 3).dispatches] == [first.dispatches[1].job_id]


@covers(Fault.LOSE_REPLY, Phase.FAN_IN)
def test_a_lost_reply_finds_the_dispatches_behind_joins(fake: FakeWorker) -> None:
    canvas = group(add.s(1, 2) | group([echo.s("x"), echo.s("y")]), add.s(3, 4)) | total.si([1])
    (one, two) = fake.start(canvas).dispatches
    (x, y) = fake.succeed(fake.take(one), 3).dispatches
    fake.succeed(fake.take(two), 7)
    fake.succeed(fake.take(x))
    claimed = fake.take(y)
    assert [dispatch.step for dispatch in fake.succeed(claimed).dispatches] == [total.name]
    assert [dispatch.step for dispatch in fake.succeed(claimed).dispatches] == [total.name]


@covers(Fault.LOSE_REPLY, Phase.FAN_OUT)
def test_a_lost_reply_finds_the_branches_of_an_each(fake: FakeWorker) -> None:
    claimed = fake.begin(numbers.s(3) | each(echo.s()))
    first, again = fake.succeed(claimed, [0, 1, 2]), fake.succeed(claimed, [0, 1, 2])
    assert len(first.dispatches) == 3
    assert {dispatch.job_id for dispatch in again.dispatches} == {dispatch.job_id for dispatch in first.dispatches}


@covers(Fault.LOSE_REPLY, Phase.RETRY, Phase.COMPLETION)
def test_a_retry_or_failure_whose_reply_was_lost_is_accepted(fake: FakeWorker) -> None:
    claimed = fake.begin(add.s(1, 2))
    assert (fake.retry(claimed, 60).accepted, fake.retry(claimed, 60).accepted) == (True, True)
    assert fake.history(claimed.job_id) == [(1, "retried")]
    claimed = fake.begin(add.s(1, 2))
    assert (fake.fail(claimed).accepted, fake.fail(claimed).accepted) == (True, True)
    assert fake.history(claimed.job_id) == [(1, "failed")]


def test_a_retry_waits_for_its_time(fake: FakeWorker) -> None:
    claimed = fake.begin(add.s(1, 2))
    assert fake.retry(claimed, delay=3600).dispatches == ()
    job = fake.job(claimed.job_id)
    assert (job.status, job.error_class, job.error_message) == (JobStatus.SCHEDULED, "ValueError", "no such thing")
    assert fake.dispatched_by(lambda tx: due_jobs.dispatch_due(tx, 10)) == []
    fake.age(claimed.job_id, due_at=0.01)
    (dispatch,) = fake.dispatched_by(lambda tx: due_jobs.dispatch_due(tx, 10))
    assert fake.take(dispatch).attempt == 2


def test_a_retry_without_delay_is_ready_at_once(fake: FakeWorker) -> None:
    (dispatch,) = fake.retry(fake.begin(add.s(1, 2))).dispatches
    assert fake.take(dispatch).attempt == 2


def test_a_failure_ends_the_workflow_and_not_its_other_branches(fake: FakeWorker) -> None:
    started = fake.start(group(add.s(1, 2) | echo.s(), numbers.s(2) | echo.s()) | total.s())
    one, two = started.dispatches
    claimed = fake.take(one)
    assert fake.fail(claimed).dispatches == ()
    workflow = fake.workflow(started.workflow_id)
    assert (workflow.status, workflow.failed_job_id) == (WorkflowStatus.FAILED, claimed.job_id)
    with pytest.raises(StepFailed) as error:
        fake.result(started.workflow_id)
    failed = error.value
    assert (failed.step, failed.attempts, failed.category) == (add.name, 1, "error")
    assert (failed.error_class, failed.error_message) == ("ValueError", "no such thing")
    assert fake.run(two) == 2
    waiting = [job.step for job in fake.jobs(started.workflow_id) if job.status == JobStatus.WAITING]
    assert sorted(waiting) == ["agentq.join", echo.name, total.name]


def test_the_first_failure_is_the_workflows(fake: FakeWorker) -> None:
    started = fake.start(group(add.s(1, 2), add.s(3, 4)))
    first, second = [fake.take(dispatch) for dispatch in started.dispatches]
    fake.fail(second)
    fake.fail(first)
    assert fake.workflow(started.workflow_id).failed_job_id == second.job_id
