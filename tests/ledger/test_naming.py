"""A job whose limits need what the step before gives gets their names once, when that is known."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from agentq import Concurrency, each, step
from agentq.ledger import attempts, limits, moves, naming
from agentq.ledger.records import Claim, Dispatch
from agentq.operations import audit, jobs, why
from agentq.outcomes import Fail, Succeed
from agentq.policies.limits import Meters
from agentq.states import JobStatus
from agentq.steps.naming import JobLimits
from tests.support.fake_worker import FAILURE
from tests.support.limited import BLOCKED, QUEUED, SLOTS, LimitedWorker, ask
from tests.support.steps import echo, numbers, total

GPT = "model:gpt"
ITEMS = 200


@step(limits=[Concurrency("parity", key="number", limit=3), Concurrency("all numbers", limit=10)])
def handle(number: int) -> int:
    return number


@pytest.fixture
def worker(ledger_url: str) -> Iterator[LimitedWorker]:
    """A worker that gets the messages that the ledger publishes."""
    worker = LimitedWorker(ledger_url)
    yield worker
    worker.ledger.close()


def hand_over(worker: LimitedWorker, canvas: Any, result: object = "gpt") -> tuple[Claim, Dispatch]:
    """Start a canvas and end its first job; returns the claim of that, and the message of the next one."""
    worker.begin_all([canvas])
    claimed = worker.take(worker.published.pop())
    worker.end(claimed, Succeed(json.dumps(result)))
    return claimed, worker.published.pop()


def test_a_job_after_another_is_queued_without_names_and_its_message_claims_nothing(worker: LimitedWorker) -> None:
    claimed, message = hand_over(worker, echo.s("gpt") | ask.s())
    assert claimed.successor is None, "it is dispatched after the commit"
    job = worker.job(message.job_id)
    assert (job.status, job.limits, job.pays, message.pays) == (QUEUED, [], True, True)
    assert worker.claim(message) is None
    assert worker.job(message.job_id).attempt == 0
    assert audit.run(worker.ledger).is_sound


@pytest.mark.parametrize("has_slot", [True, False], ids=["slot", "no-slot"])
def test_a_job_that_gets_names_takes_a_slot_or_waits(worker: LimitedWorker, has_slot: bool) -> None:
    if not has_slot:
        worker.begin_all([ask.s("gpt")] * SLOTS)
    _, message = hand_over(worker, echo.s("gpt") | ask.s())
    assert worker.name(message) == BLOCKED
    job = worker.job(message.job_id)
    assert (job.status, job.limits, job.pays, job.attempt) == (QUEUED if has_slot else BLOCKED, [GPT], False, 0)
    assert worker.limit(GPT).used == (1 if has_slot else SLOTS)
    assert audit.run(worker.ledger).is_sound
    if not has_slot:
        worker.end(worker.next())
    while worker.published[0].job_id != message.job_id:
        worker.end(worker.next())
    assert worker.end(worker.next())


def test_a_job_without_limits_after_all_is_claimed_by_the_same_message(worker: LimitedWorker) -> None:
    _, message = hand_over(worker, echo.s() | ask.s(), None)
    job = unnamed(worker, message)
    assert worker.ledger.write(lambda tx: naming.name_limits(tx, job, JobLimits())) == QUEUED
    row = worker.job(message.job_id)
    assert (row.limits, row.pays, row.dispatches) == (None, False, 0)
    assert not worker.published
    claimed = worker.take(without_pay(message))
    assert claimed.limits is None


def unnamed(worker: LimitedWorker, message: Dispatch) -> naming.Unnamed:
    job = worker.ledger.read(lambda connection: naming.find_unnamed(connection, message.job_id))
    assert job is not None
    return job


def without_pay(message: Dispatch) -> Dispatch:
    return replace(message, pays=False)


def test_names_are_given_once(worker: LimitedWorker) -> None:
    _, message = hand_over(worker, echo.s("gpt") | ask.s())
    job = unnamed(worker, message)
    others = worker.limits_of(replace(job, args=["other"]))
    assert worker.name(message) == BLOCKED
    assert worker.ledger.write(lambda tx: naming.name_limits(tx, job, others)) is None
    assert worker.job(message.job_id).limits == [GPT]


def test_names_that_were_made_before_a_move_to_another_queue_are_not_given(worker: LimitedWorker) -> None:
    worker.ordered = {"llm": 1}
    worker.begin_all([echo.s(1).set(queue="llm")])
    _, message = hand_over(worker, echo.s("gpt") | ask.s())
    job = unnamed(worker, message)
    old = worker.limits_of(job)
    jobs.move(worker.ledger, str(message.job_id), "llm", actor="ann", reason="a free one")
    [again] = worker.due()
    assert worker.ledger.write(lambda tx: naming.name_limits(tx, job, old)) is None
    moved = worker.job(message.job_id)
    assert (moved.status, moved.limits, moved.queue) == (QUEUED, [], "llm")
    assert worker.name(again) == BLOCKED
    assert worker.job(message.job_id).limits == [GPT, "queue:llm"]


@pytest.mark.parametrize("ended", ["before", "after"])
def test_a_crash_beside_the_naming_is_made_good(worker: LimitedWorker, ended: str) -> None:
    _, message = hand_over(worker, echo.s("gpt") | ask.s())
    if ended == "after":
        with worker.dying():
            assert worker.name(message) == BLOCKED
        assert worker.name(message) is None, "the message that comes again finds names"
        limits.enter_unawaited(worker.ledger)
        [message] = worker.published
    else:
        worker.name(message)
        message = worker.published.pop()
    assert worker.take(message).limits == [GPT]


def test_an_each_whose_items_name_a_limit_publishes_no_more_messages_than_slots(worker: LimitedWorker) -> None:
    worker.begin_all([echo.s(["gpt"]) | each(ask.s()) | total.si([])])
    worker.end(worker.next(), Succeed(json.dumps(["gpt"] * ITEMS)))
    ran = 0
    while worker.published and worker.published[0].step == ask.name:
        assert len(worker.published) <= SLOTS
        worker.end(worker.next())
        ran += 1
    assert (ran, [dispatch.step for dispatch in worker.published]) == (ITEMS, [total.name])
    assert (worker.limit(GPT).used, worker.limit(GPT).declared) == (0, SLOTS)


def test_names_of_an_each_are_in_one_order_with_those_known_before(worker: LimitedWorker) -> None:
    claimed, _ = hand_over(worker, numbers.s(2) | each(handle.s()), [1, 2])
    named = [job.limits for job in worker.jobs(claimed.workflow_id) if job.step == handle.name]
    assert named == [["all numbers", "parity:1"], ["all numbers", "parity:2"]]


def test_an_each_that_a_process_without_the_step_expands_names_by_the_first_message(worker: LimitedWorker) -> None:
    worker.ledger.naming = None
    worker.begin_all([echo.s(["gpt"]) | each(ask.s())])
    worker.end(worker.next(), Succeed('["gpt"]'))
    message = worker.published.popleft()
    assert worker.job(message.job_id).limits == []
    assert worker.name(message) == BLOCKED
    assert worker.next().limits == [GPT]


def test_an_item_that_does_not_fit_its_step_is_left_to_the_worker_of_its_message(worker: LimitedWorker) -> None:
    worker.begin_all([echo.s(["gpt"]) | each(ask.s())])
    worker.end(worker.next(), Succeed("[[1]]"))
    message = worker.published.popleft()
    assert worker.job(message.job_id).limits == []


def test_a_limit_of_an_each_that_was_not_declared_before_a_crash_is_declared_by_a_caretaker(
    worker: LimitedWorker,
) -> None:
    worker.begin_all([echo.s(["gpt"]) | each(ask.s())])
    claimed = worker.next()
    with worker.dying():
        worker.end(claimed, Succeed('["gpt"]'))
    limits.enter_unawaited(worker.ledger, lambda limit: Meters(slots=SLOTS))
    assert worker.next().limits == [GPT]


def test_a_job_without_names_fails_by_an_attempt_that_does_not_run_it(worker: LimitedWorker) -> None:
    _, message = hand_over(worker, echo.s("gpt") | ask.s())
    claimed = claim_unnamed(worker, message)
    assert claimed is not None
    assert claim_unnamed(worker, message) is None
    assert worker.end(claimed, Fail(FAILURE))
    assert worker.job(message.job_id).status == JobStatus.FAILED
    assert audit.run(worker.ledger).is_sound


def claim_unnamed(worker: LimitedWorker, message: Dispatch) -> Claim | None:
    token = moves.new_claim_token()
    return worker.ledger.write(
        lambda tx: attempts.claim(
            tx, message.job_id, message.step, worker.worker_id, token, sent_to=message.queue, is_unnamed=True
        )
    )


def test_why_says_that_the_worker_names_the_limits(worker: LimitedWorker) -> None:
    claimed, _ = hand_over(worker, echo.s("gpt") | ask.s())
    [reason] = why.of_workflow(worker.ledger, str(claimed.workflow_id)).reasons
    assert reason.name == "worker"
    assert "which names its limits" in reason.waiting_for
