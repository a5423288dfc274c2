"""A job whose queue no worker consumes gives its slots back to those that wait for them."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from agentq.ledger.caretaking import take_backs
from agentq.operations import limits, why
from tests.support.limited import BLOCKED, QUEUED, SLOTS, LimitedWorker, ask, render, train

SMALL, DESERTED = "model:small", "deserted"
LATE = 61.0


@pytest.fixture
def worker(ledger_url: str) -> Iterator[LimitedWorker]:
    """A worker that consumes the default queue only."""
    worker = LimitedWorker(ledger_url)
    worker.renew(600, queues=["celery"])
    yield worker
    worker.ledger.close()


def desert(worker: LimitedWorker, late: float = LATE, tenant: str = "acme") -> list[uuid.UUID]:
    """Let jobs of a queue without a worker take all slots, so long ago."""
    jobs = worker.begin_all([ask.s().set(queue=DESERTED)] * SLOTS, tenant=tenant)
    for job in jobs:
        worker.age(job, dispatched_at=late)
    return jobs


def test_it_stands_at_the_end_of_the_line_and_the_jobs_that_waited_have_its_slots(worker: LimitedWorker) -> None:
    held = desert(worker)
    jobs = worker.begin_all([ask.s()] * (SLOTS + 1))
    assert take_backs.take_back(worker.ledger) == {DESERTED: SLOTS}
    assert worker.statuses([*held, *jobs]) == [BLOCKED] * SLOTS + [QUEUED] * SLOTS + [BLOCKED]
    assert (worker.limit(SMALL).used, [worker.job(job).held for job in held]) == (SLOTS, [0] * SLOTS)
    assert worker.job(held[0]).rank_at > worker.job(jobs[-1]).rank_at


def test_its_message_claims_nothing_and_counts_no_attempt(worker: LimitedWorker) -> None:
    [first, *_] = desert(worker)
    message = worker.published[0]
    worker.begin_all([ask.s()] * SLOTS)
    take_backs.take_back(worker.ledger)
    assert worker.claim(message) is None
    assert worker.job(first).attempt == 0


def test_it_says_that_its_slots_were_taken_back(worker: LimitedWorker) -> None:
    [first, *_] = desert(worker)
    worker.begin_all([ask.s()] * SLOTS)
    take_backs.take_back(worker.ledger)
    [reason] = why.find(worker.ledger, str(first)).reasons
    assert reason.waiting_for == (
        f"slots of {SMALL}, 2 of 2, 1st of tenant acme; taken back from queue 'deserted', which no worker consumed"
    )


def test_it_keeps_its_slots_while_no_other_job_waits_for_them(worker: LimitedWorker) -> None:
    held = desert(worker)
    assert take_backs.take_back(worker.ledger) == {}
    assert worker.statuses(held) == [QUEUED] * SLOTS


@pytest.mark.parametrize("queues", [["celery", DESERTED], None], ids=["consumed", "unknown"])
def test_it_keeps_its_slots_where_a_live_worker_may_consume_its_queue(
    worker: LimitedWorker, ledger_url: str, queues: list[str] | None
) -> None:
    held = desert(worker)
    worker.begin_all([ask.s()])
    other = LimitedWorker(ledger_url)
    other.renew(600, queues=queues)
    assert take_backs.take_back(worker.ledger) == {}
    assert worker.statuses(held) == [QUEUED] * SLOTS
    other.renew(-1)
    assert take_backs.take_back(worker.ledger) == {DESERTED: SLOTS}
    other.ledger.close()


def test_it_waits_for_a_worker_twice_as_long_the_next_time(worker: LimitedWorker) -> None:
    held = desert(worker)
    worker.begin_all([ask.s()])
    take_backs.take_back(worker.ledger)
    [again] = [job for job in held if worker.job(job).status == QUEUED]  # one slot was left for one of them
    worker.begin_all([ask.s()])
    worker.age(again, dispatched_at=LATE)
    assert take_backs.take_back(worker.ledger) == {}
    worker.age(again, dispatched_at=2 * LATE)
    assert take_backs.take_back(worker.ledger) == {DESERTED: 1}


def test_the_slots_go_to_another_tenant_that_waits(worker: LimitedWorker) -> None:
    held = desert(worker, tenant="a")
    jobs = worker.begin_all([ask.s()] * SLOTS, tenant="z")
    take_backs.take_back(worker.ledger)
    assert worker.statuses([*held, *jobs]) == [BLOCKED] * SLOTS + [QUEUED] * SLOTS


def test_a_job_with_two_limits_gives_both_slots_back_though_one_is_awaited(worker: LimitedWorker) -> None:
    [both] = worker.begin_all([train.s().set(queue=DESERTED)])
    worker.begin_all([ask.s()] * (SLOTS - 1))
    [waits] = worker.begin_all([ask.s()])
    worker.age(both, dispatched_at=LATE)
    take_backs.take_back(worker.ledger)
    assert worker.statuses([both, waits]) == [BLOCKED, QUEUED]
    assert (worker.limit("gpu").used, worker.limit(SMALL).used) == (0, SLOTS)
    [other] = worker.begin_all([render.s()])
    assert worker.job(other).status == QUEUED


def test_it_is_admitted_again_when_a_slot_comes_free(worker: LimitedWorker) -> None:
    held = desert(worker)
    worker.begin_all([ask.s()] * SLOTS)
    take_backs.take_back(worker.ledger)
    worker.published.rotate(-SLOTS)
    worker.end(worker.next())
    assert worker.job(held[0]).status == QUEUED
    assert worker.published[-1].job_id == held[0]


def test_a_raised_limit_admits_it_again(worker: LimitedWorker) -> None:
    held = desert(worker)
    worker.begin_all([ask.s()] * SLOTS)
    take_backs.take_back(worker.ledger)
    limits.change(worker.ledger, SMALL, 2 * SLOTS, reason="more")
    assert worker.statuses(held) == [QUEUED] * SLOTS
