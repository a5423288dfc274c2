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
from tests.support.faults import Fault, Moment, covers
from tests.support.player import Player, Recorded
from tests.support.steps import add, echo, fail, numbers, total


@covers(Fault.DUPLICATE, Moment.CLAIM)
def test_a_job_is_claimed_once(player: Player) -> None:
    (bell,) = player.start(add.s(1, 2)).bells
    held = player.take(bell)
    assert (held.attempt, held.step, json.loads(held.arguments)) == (1, add.name, [[1, 2], {}])
    assert player.claim(bell) is None
    assert Player(player.ledger).claim(bell) is None
    job = player.job(bell.job_id)
    assert (job.status, job.attempt, job.worker_id) == (JobStatus.RUNNING, 1, player.worker_id)


def test_a_message_of_another_name_gets_nothing(player: Player) -> None:
    (step,) = player.start(add.s(1, 2)).bells
    (task,) = player.start(Signature("some.task", (1,))).bells
    assert player.claim(replace(step, step=echo.name)) is None
    assert player.claim(replace(step, kind="task")) is None
    assert player.claim(replace(task, kind="step")) is None
    assert {player.job(bell.job_id).attempt for bell in (step, task)} == {0}
    assert player.take(task).step == "some.task"


@covers(Fault.DUPLICATE, Moment.RETRY, Moment.COMPLETION)
def test_only_what_is_queued_can_be_claimed(player: Player) -> None:
    started = player.start(add.s(1, 2) | echo.s())
    (first,) = started.bells
    later = player.jobs(started.workflow_id)[1]
    assert player.claim(replace(first, job_id=later.id, step=later.step)) is None
    assert player.claim(replace(first, job_id=uuid.uuid4())) is None
    held = player.take(first)
    player.retry(held, delay=60)
    assert player.claim(first) is None
    player.age(first.job_id, due_at=1)
    player.dispatched_by(lambda tx: due_jobs.dispatch_due(tx, 10))
    player.succeed(player.take(first))
    assert player.claim(first) is None


def test_an_expired_job_is_not_claimed(player: Player) -> None:
    (bell,) = player.start(add.s(1, 2).set(expires=60)).bells
    player.age(bell.job_id, expires_at=1)
    assert player.claim(bell) is None


@covers(Fault.LOSE_REPLY, Moment.CLAIM)
def test_a_claim_whose_reply_was_lost_is_the_same_claim(player: Player) -> None:
    (bell,) = player.start(add.s(1, 2)).bells
    token = moves.new_claim_token()
    first, again = player.claim(bell, token), player.claim(bell, token)
    assert first is not None
    assert again is not None
    assert (first.attempt, again.attempt, player.job(bell.job_id).attempt) == (1, 1, 1)
    assert player.succeed(again, 3).accepted


def test_each_claim_counts_before_the_step_runs(player: Player) -> None:
    (bell,) = player.start(add.s(1, 2)).bells
    numbers = []
    for _ in range(3):
        held = player.take(bell)
        numbers.append((held.attempt, player.job(bell.job_id).attempt))
        player.retry(held)
    assert numbers == [(1, 1), (2, 2), (3, 3)]
    assert player.history(bell.job_id) == [(1, "retried"), (2, "retried"), (3, "retried")]


@pytest.mark.unsound
def test_a_job_is_not_claimed_beyond_its_attempts(player: Player) -> None:
    (bell,) = player.start(fail.s("x")).bells
    player.retry(player.take(bell))  # a judge would have said: fail; the ledger refuses by itself
    assert player.claim(bell) is None


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
def test_a_claim_brings_the_result_it_starts_from(player: Player, canvas: Signature, inputs: object) -> None:
    last = player.run_to_last(*player.start(canvas).bells)
    assert (last.step, last.inputs and json.loads(last.inputs)) == (echo.name, inputs)


def test_success_is_kept_handed_over_and_ends_the_workflow(player: Player) -> None:
    started = player.start(add.s(1, 2) | echo.s())
    (first,) = started.bells
    handed = player.succeed(player.take(first), 3)
    assert handed.accepted
    (second,) = handed.bells
    assert (second.step, second.after_id) == (echo.name, first.job_id)
    assert player.workflow(started.workflow_id).status == WorkflowStatus.RUNNING
    assert player.succeed(player.take(second), "end").bells == ()
    assert player.workflow(started.workflow_id).status == WorkflowStatus.SUCCEEDED
    assert player.result(started.workflow_id) == "end"
    assert player.history(first.job_id) == [(1, "succeeded")]


@covers(Fault.FREEZE, Moment.COMPLETION, Moment.RETRY)
def test_a_stale_attempt_cannot_write(player: Player) -> None:
    started = player.start(add.s(1, 2) | echo.s())
    (bell,) = started.bells
    stale = player.take(bell)
    player.dispatched_by(lambda tx: rescues.release_all(tx, player.worker_id))
    current = Player(player.ledger).take(bell)
    for write in (player.succeed, player.retry, player.fail):
        assert write(stale) == Recorded(False)
    job = player.job(bell.job_id)
    assert (job.status, job.attempt, job.result, job.error_class) == (JobStatus.RUNNING, 2, None, None)
    assert player.succeed(current, 3).accepted
    assert player.succeed(stale, "stale") == Recorded(False)
    assert player.job(bell.job_id).result == "3"
    assert player.history(bell.job_id) == [(1, "released"), (2, "succeeded")]


@covers(Fault.LOSE_REPLY, Moment.COMPLETION, Moment.HAND_OVER, Moment.FAN_OUT)
def test_a_success_whose_reply_was_lost_is_accepted_and_started_once(player: Player) -> None:
    started = player.start(add.s(1, 2) | group(echo.s("a"), echo.s("b")))
    held = player.take(started.bells[0])
    first, again = player.succeed(held, 3), player.succeed(held, 3)
    assert first.accepted
    assert again.accepted
    assert {bell.job_id for bell in first.bells} == {bell.job_id for bell in again.bells}
    assert player.history(held.job_id) == [(1, "succeeded")]
    player.take(first.bells[0])
    assert [bell.job_id for bell in player.succeed(held, 3).bells] == [first.bells[1].job_id]


@covers(Fault.LOSE_REPLY, Moment.FAN_IN)
def test_a_lost_reply_finds_the_bells_behind_joins(player: Player) -> None:
    canvas = group(add.s(1, 2) | group([echo.s("x"), echo.s("y")]), add.s(3, 4)) | total.si([1])
    (one, two) = player.start(canvas).bells
    (x, y) = player.succeed(player.take(one), 3).bells
    player.succeed(player.take(two), 7)
    player.succeed(player.take(x))
    held = player.take(y)
    assert [bell.step for bell in player.succeed(held).bells] == [total.name]
    assert [bell.step for bell in player.succeed(held).bells] == [total.name]


@covers(Fault.LOSE_REPLY, Moment.FAN_OUT)
def test_a_lost_reply_finds_the_branches_of_an_each(player: Player) -> None:
    held = player.begin(numbers.s(3) | each(echo.s()))
    first, again = player.succeed(held, [0, 1, 2]), player.succeed(held, [0, 1, 2])
    assert len(first.bells) == 3
    assert {bell.job_id for bell in again.bells} == {bell.job_id for bell in first.bells}


@covers(Fault.LOSE_REPLY, Moment.RETRY, Moment.COMPLETION)
def test_a_retry_or_failure_whose_reply_was_lost_is_accepted(player: Player) -> None:
    held = player.begin(add.s(1, 2))
    assert (player.retry(held, 60).accepted, player.retry(held, 60).accepted) == (True, True)
    assert player.history(held.job_id) == [(1, "retried")]
    held = player.begin(add.s(1, 2))
    assert (player.fail(held).accepted, player.fail(held).accepted) == (True, True)
    assert player.history(held.job_id) == [(1, "failed")]


def test_a_retry_waits_for_its_time(player: Player) -> None:
    held = player.begin(add.s(1, 2))
    assert player.retry(held, delay=3600).bells == ()
    job = player.job(held.job_id)
    assert (job.status, job.error_class, job.error_message) == (JobStatus.SCHEDULED, "ValueError", "no such thing")
    assert player.dispatched_by(lambda tx: due_jobs.dispatch_due(tx, 10)) == []
    player.age(held.job_id, due_at=0.01)
    (bell,) = player.dispatched_by(lambda tx: due_jobs.dispatch_due(tx, 10))
    assert player.take(bell).attempt == 2


def test_a_retry_without_delay_is_ready_at_once(player: Player) -> None:
    (bell,) = player.retry(player.begin(add.s(1, 2))).bells
    assert player.take(bell).attempt == 2


def test_a_failure_ends_the_workflow_and_not_its_other_branches(player: Player) -> None:
    started = player.start(group(add.s(1, 2) | echo.s(), numbers.s(2) | echo.s()) | total.s())
    one, two = started.bells
    held = player.take(one)
    assert player.fail(held).bells == ()
    workflow = player.workflow(started.workflow_id)
    assert (workflow.status, workflow.failed_job_id) == (WorkflowStatus.FAILED, held.job_id)
    with pytest.raises(StepFailed) as error:
        player.result(started.workflow_id)
    failed = error.value
    assert (failed.step, failed.attempts, failed.category) == (add.name, 1, "error")
    assert (failed.error_class, failed.error_message) == ("ValueError", "no such thing")
    assert player.run(two) == 2
    waiting = [job.step for job in player.jobs(started.workflow_id) if job.status == JobStatus.WAITING]
    assert sorted(waiting) == ["agentq.join", echo.name, total.name]


def test_the_first_failure_is_the_workflows(player: Player) -> None:
    started = player.start(group(add.s(1, 2), add.s(3, 4)))
    first, second = [player.take(bell) for bell in started.bells]
    player.fail(second)
    player.fail(first)
    assert player.workflow(started.workflow_id).failed_job_id == second.job_id
