"""A refused call closes the limits of its job for all their jobs; after that they open by degrees."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
from sqlalchemy import update

from agentq.ledger import attempts, limits
from agentq.ledger.caretaking.work import Work, find_work
from agentq.ledger.models import LimitRow
from agentq.outcomes import Outcome, RetryLater
from agentq.states import JobStatus
from tests.support.cooling import (
    API,
    AT_ONCE,
    FREE,
    GPU,
    PAID,
    REFUSAL,
    call,
    call_at_a_rate,
    call_freely,
    call_with_gpu,
    end_cooldown,
    failed,
    refused,
    seconds_left,
)
from tests.support.fake_worker import FAILURE
from tests.support.limited import BLOCKED, QUEUED, SUCCEEDED, LimitedWorker, render

FAILED = JobStatus.FAILED


@pytest.fixture
def worker(ledger_url: str) -> Iterator[LimitedWorker]:
    """A worker that gets the messages that the ledger publishes."""
    worker = LimitedWorker(ledger_url)
    yield worker
    worker.ledger.close()


def test_the_job_of_a_refused_call_waits_in_the_line_of_its_limit_at_no_cost(worker: LimitedWorker) -> None:
    [job] = worker.begin_all([call.s()])
    before = worker.job(job)
    assert worker.end(worker.next(), refused(30))
    after = worker.job(job)
    assert (after.status, after.blocked_by, after.blocked_on, after.held) == (BLOCKED, "limit", API, 0)
    assert (after.attempt, after.max_attempts) == (1, before.max_attempts + 1)
    assert (after.uncounted, after.waits, after.waited, after.paused) == (1, 1, 30, 0)
    assert (after.error_category, after.due_reason) == ("rate_limit", "rate_limit: deferred")
    assert worker.history(job) == [(1, "retried")]
    limit = worker.limit(API)
    assert (limit.used, limit.strikes, limit.cooldown_reason, limit.is_awaited) == (0, 1, "429", True)
    assert 29 < seconds_left(worker) <= 30
    assert worker.queued() == []


def test_no_job_is_admitted_while_a_limit_cools(worker: LimitedWorker) -> None:
    jobs = worker.begin_all([call.s()] * (AT_ONCE + 2))
    running = [worker.next() for _ in range(AT_ONCE)]
    worker.end(running[0], refused(30))
    worker.end(running[1])
    worker.end(running[2], RetryLater(FAILURE, 60))
    jobs += worker.begin_all([call.s()])
    limits.fill(worker.ledger)
    limits.enter_unawaited(worker.ledger)
    assert worker.statuses(jobs) == [BLOCKED, SUCCEEDED, "scheduled", "running", *[BLOCKED] * 3]
    assert worker.limit(API).used == 1


def test_after_a_cooldown_one_job_is_admitted_and_twice_as_many_after_each_success(worker: LimitedWorker) -> None:
    jobs = worker.begin_all([call.s()] * 10)
    for _ in range(AT_ONCE):
        worker.end(worker.next(), refused(30))
    assert worker.statuses(jobs) == [BLOCKED] * 10
    end_cooldown(worker)
    limits.fill(worker.ledger)
    admitted = []
    while worker.published:
        admitted.append(len(worker.published))
        worker.end(worker.next())
    assert admitted[:3] == [1, 2, AT_ONCE]
    assert worker.statuses(jobs) == [SUCCEEDED] * 10
    limit = worker.limit(API)
    assert (limit.used, limit.ramp, limit.strikes) == (0, None, 0)


@pytest.mark.parametrize("outcome", [failed(30), refused(30)], ids=["failed", "tried-again"])
def test_the_calls_that_still_run_when_a_limit_cools_hold_no_job_back(
    worker: LimitedWorker, outcome: Outcome
) -> None:
    jobs = worker.begin_all([call.s()] * (AT_ONCE + 3))
    running = [worker.next() for _ in range(AT_ONCE)]
    worker.end(running[0], outcome)
    end_cooldown(worker)
    limits.fill(worker.ledger)
    assert worker.statuses(jobs).count(QUEUED) == 1
    worker.end(running[1])
    assert worker.statuses(jobs).count(QUEUED) == 1, "it began before the cooldown, and proves nothing now"
    worker.end(running[2], RetryLater(FAILURE, 60))
    assert worker.statuses(jobs).count(QUEUED) == 1
    assert (worker.limit(API).ramp, worker.limit(API).carried) == (1, 1)
    worker.end(worker.next())
    assert worker.statuses(jobs).count(QUEUED) == 2


def test_a_success_of_a_call_from_before_does_not_shorten_a_cooldown(worker: LimitedWorker) -> None:
    worker.begin_all([call.s()] * AT_ONCE)
    running = [worker.next() for _ in range(AT_ONCE)]
    worker.end(running[0], refused(30))
    for claimed in running[1:]:
        worker.end(claimed)
    assert 29 < seconds_left(worker) <= 30
    assert (worker.limit(API).ramp, worker.limit(API).strikes) == (1, 1)


def test_each_further_refusal_doubles_the_pause_up_to_a_minute(worker: LimitedWorker) -> None:
    [job] = worker.begin_all([call.s()])
    pauses = []
    for _ in range(8):
        worker.end(worker.next(), refused())
        pauses.append(seconds_left(worker))
        end_cooldown(worker)
        limits.fill(worker.ledger)
        assert worker.job(job).status == QUEUED
    assert [math.ceil(pause) for pause in pauses] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert worker.limit(API).strikes == 8


def test_a_pause_is_as_long_as_the_provider_says_but_grows_with_each_refusal(worker: LimitedWorker) -> None:
    worker.begin_all([call.s()])
    pauses = []
    for said in (0.9, 0.9, 20, 20, 100_000):
        worker.end(worker.next(), refused(said))
        pauses.append(seconds_left(worker))
        end_cooldown(worker)
        limits.fill(worker.ledger)
    assert [math.ceil(pause) for pause in pauses] == [1, 2, 20, 20, 3_600]


def test_refusals_of_calls_that_ran_together_are_one_and_its_latest_end_holds(worker: LimitedWorker) -> None:
    worker.begin_all([call.s()] * AT_ONCE)
    running = [worker.next() for _ in range(AT_ONCE)]
    for claimed, seconds in zip(running, (5, 60, None, 8), strict=True):
        worker.end(claimed, refused(seconds))
    limit = worker.limit(API)
    assert (limit.strikes, limit.used, limit.ramp, limit.carried) == (1, 0, 1, 0)
    assert 59 < seconds_left(worker) <= 60


def test_a_second_refusal_begins_the_ramp_anew(worker: LimitedWorker) -> None:
    jobs = worker.begin_all([call.s()] * 10)
    worker.end(worker.next(), refused(30))
    for _ in range(AT_ONCE - 1):
        worker.end(worker.next())
    end_cooldown(worker)
    limits.fill(worker.ledger)
    worker.end(worker.next())
    assert worker.limit(API).ramp == 2
    one, two = worker.next(), worker.next()
    worker.end(one, refused(30))
    end_cooldown(worker)
    limits.fill(worker.ledger)
    assert worker.statuses(jobs).count(QUEUED) == 1
    worker.end(two)
    assert worker.statuses(jobs).count(QUEUED) == 1
    assert (worker.limit(API).ramp, worker.limit(API).strikes) == (1, 2)


def test_a_refused_job_that_is_not_tried_again_closes_its_limit_too(worker: LimitedWorker) -> None:
    jobs = worker.begin_all([call.s()] * (AT_ONCE + 1))
    worker.end(worker.next(), failed(30))
    assert worker.statuses(jobs) == [FAILED, *[QUEUED] * (AT_ONCE - 1), BLOCKED]
    assert 29 < seconds_left(worker) <= 30


def test_a_refused_job_that_asks_for_a_time_of_its_own_waits_for_that(worker: LimitedWorker) -> None:
    [job] = worker.begin_all([call.s()])
    asked = RetryLater(REFUSAL, 60, "the step asked for it", is_asked=True, cool=refused(30).cool)
    worker.end(worker.next(), asked)
    assert (worker.job(job).status, worker.job(job).held) == ("scheduled", 0)
    assert 29 < seconds_left(worker) <= 30


def test_a_job_that_holds_its_slot_when_its_limit_begins_to_cool_runs(worker: LimitedWorker) -> None:
    _, second = worker.begin_all([call.s()] * 2)
    worker.end(worker.next(), refused(30))
    assert worker.end(worker.next())
    assert worker.job(second).status == SUCCEEDED


def test_a_job_that_was_queued_when_its_limit_began_to_cool_leaves_no_place_beside_the_ramp(
    worker: LimitedWorker,
) -> None:
    worker.begin_all([call.s()] * 2)
    worker.end(worker.next(), refused(30))
    end_cooldown(worker)
    worker.end(worker.next())
    assert (worker.limit(API).ramp, worker.limit(API).carried) == (2, 0)


def test_a_claim_that_pays_refuses_its_job_while_the_limit_cools_and_one_job_comes_after_it(
    worker: LimitedWorker,
) -> None:
    jobs = worker.begin_all([call_at_a_rate.s()] * AT_ONCE)
    worker.end(worker.next(), refused(30, PAID))
    while worker.published:
        assert worker.claim(worker.published.popleft()) is None
    assert worker.statuses(jobs) == [BLOCKED] * AT_ONCE
    assert (worker.limit(PAID).used, worker.limit(PAID).carried) == (0, 0)
    assert {worker.job(job).attempt for job in jobs[1:]} == {0}
    end_cooldown(worker, PAID)
    limits.fill(worker.ledger)
    admitted = []
    while worker.published:
        admitted.append(len(worker.published))
        worker.end(worker.next())
    assert admitted[:2] == [1, 2]


def test_the_slot_of_another_limit_goes_to_the_next_job_of_that(worker: LimitedWorker) -> None:
    both, waiting = worker.begin_all([call_with_gpu.s(), render.s()])
    assert worker.statuses([both, waiting]) == [QUEUED, BLOCKED]
    worker.end(worker.next(), refused(30))
    assert worker.statuses([both, waiting]) == [BLOCKED, QUEUED]
    assert (worker.job(both).blocked_on, worker.limit(API).used, worker.limit(GPU).used) == (API, 0, 1)


def test_a_limit_without_slots_closes_and_opens_by_degrees_too(worker: LimitedWorker) -> None:
    jobs = worker.begin_all([call_freely.s()] * 20)
    assert worker.statuses(jobs) == [QUEUED] * 20
    for _ in range(20):
        worker.end(worker.next(), refused(30, FREE))
    assert worker.statuses(jobs) == [BLOCKED] * 20
    end_cooldown(worker, FREE)
    limits.fill(worker.ledger)
    admitted = []
    while worker.published:
        admitted.append(len(worker.published))
        worker.end(worker.next())
    assert admitted[:4] == [1, 2, 4, 8]
    jobs = worker.begin_all([call_freely.s()] * 600)
    while worker.published:
        worker.end(worker.next())
    assert worker.limit(FREE).ramp is None
    assert set(worker.statuses(jobs)) == {SUCCEEDED}


def test_an_outcome_that_is_recorded_again_after_a_lost_reply_counts_once(worker: LimitedWorker) -> None:
    worker.begin_all([call.s()] * 2)
    claimed = worker.next()
    for _ in range(2):
        assert worker.ledger.write(lambda tx: attempts.record(tx, claimed, refused(30)))
    assert (worker.limit(API).strikes, worker.limit(API).used) == (1, 1)


def test_a_caretaker_finds_the_limit_when_its_cooldown_has_ended_and_not_before(worker: LimitedWorker) -> None:
    [job] = worker.begin_all([call.s()])
    worker.end(worker.next(), refused(30))

    def work() -> set[Work]:
        return worker.ledger.read_statement(lambda connection: find_work(connection, worker.worker_id, 60))

    assert Work.SLOTS not in work()
    end_cooldown(worker)
    assert Work.SLOTS in work()
    limits.fill(worker.ledger)
    assert worker.job(job).status == QUEUED


def test_a_process_that_dies_after_a_refusal_leaves_its_job_to_a_caretaker(worker: LimitedWorker) -> None:
    both, waiting = worker.begin_all([call_with_gpu.s(), render.s()])
    claimed = worker.next()
    with worker.dying():
        worker.end(claimed, refused(30))
    end_cooldown(worker)
    limits.enter_unawaited(worker.ledger)
    limits.fill(worker.ledger)
    assert sorted(worker.statuses([both, waiting])) == [BLOCKED, QUEUED]
    worker.end(worker.next())
    assert worker.queued() == [waiting if worker.job(both).status == SUCCEEDED else both]


def test_an_override_of_its_slots_holds_in_the_ramp_too(worker: LimitedWorker) -> None:
    jobs = worker.begin_all([call.s()] * 4)
    for _ in range(4):
        worker.end(worker.next(), refused(30))
    paused = update(LimitRow).where(LimitRow.name == API).values(override=0)
    worker.ledger.write(lambda tx: tx.connection.execute(paused))
    end_cooldown(worker)
    limits.fill(worker.ledger)
    assert worker.statuses(jobs) == [BLOCKED] * 4
