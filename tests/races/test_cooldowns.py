"""A call that is refused beside jobs that are admitted, handed a slot, claimed, or succeed just then."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest

from agentq.ledger import attempts, limits, moves
from agentq.ledger.records import Claim
from agentq.ledger.transaction import Transaction
from agentq.outcomes import Outcome
from tests.races.overlap import concurrently, while_open
from tests.races.test_limits import complete, workers
from tests.support.cooling import (
    API,
    AT_ONCE,
    GPU,
    call,
    call_with_gpu,
    end_cooldown,
    forget_cooldown,
    refused,
    seconds_left,
)
from tests.support.limited import BLOCKED, QUEUED, SUCCEEDED, LimitedWorker, render

ROUNDS = 10

# SQLite has one writer at a time.
pytestmark = pytest.mark.parametrize("database", ["postgresql"], indirect=True, scope="session")


@pytest.fixture
def pair(ledger_url: str) -> Iterator[list[LimitedWorker]]:
    """Two workers that share nothing but the ledger."""
    with workers(ledger_url, 2) as both:
        yield both


def refuse(tx: Transaction, claimed: Claim, outcome: Outcome | None = None) -> bool:
    return attempts.record(tx, claimed, outcome or refused(30))


def test_an_admission_beside_a_refusal_finds_the_limit_closed(pair: list[LimitedWorker]) -> None:
    worker, other = pair
    [job] = worker.begin_all([call.s()])
    claimed = worker.next()
    with other.dying():
        [new] = other.begin_all([call.s()])
    while_open(worker.ledger, lambda tx: refuse(tx, claimed), lambda: limits.enter(other.ledger, API, "acme"))
    assert worker.statuses([job, new]) == [BLOCKED, BLOCKED]
    assert worker.limit(API).used == 0


def test_a_refusal_beside_an_admission_leaves_what_was_admitted_its_slot(pair: list[LimitedWorker]) -> None:
    worker, other = pair
    worker.begin_all([call.s()])
    claimed = worker.next()
    with other.dying():
        [new] = other.begin_all([call.s()])

    def admit(tx: Transaction) -> None:
        moves.await_slot(tx, API, "acme")
        limits._move_first(tx, API)

    while_open(other.ledger, admit, lambda: worker.end(claimed, refused(30)))
    limit = worker.limit(API)
    assert (worker.job(new).status, limit.used, limit.carried, limit.ramp) == (QUEUED, 1, 1, 1)


def test_a_completion_after_a_refusal_hands_no_slot_over(pair: list[LimitedWorker]) -> None:
    worker, other = pair
    worker.begin_all([call.s()] * AT_ONCE)
    one, two, *_ = [worker.next() for _ in range(AT_ONCE)]
    [waiting] = worker.begin_all([call.s()])
    worker.end(one, refused(30))
    other.end(two)
    assert (worker.job(waiting).status, worker.limit(API).used) == (BLOCKED, AT_ONCE - 2)


def test_slots_are_counted_where_one_is_handed_over_beside_a_refusal(pair: list[LimitedWorker]) -> None:
    worker, other = pair
    worker.begin_all([call.s()] * AT_ONCE)
    one, two, *_ = [worker.next() for _ in range(AT_ONCE)]
    [waiting] = worker.begin_all([call.s()])
    while_open(worker.ledger, lambda tx: refuse(tx, one), lambda: other.end(two))
    limit = worker.limit(API)
    assert worker.job(waiting).status == QUEUED, "the completion began before the refusal was there"
    assert (limit.used, limit.carried) == (AT_ONCE - 1, AT_ONCE - 1)


@pytest.mark.parametrize("first", ["success", "refusal"])
def test_a_success_beside_a_refusal_opens_nothing(pair: list[LimitedWorker], first: str) -> None:
    """Both began after the cooldown before."""
    worker, other = pair
    worker.begin_all([call.s()] * AT_ONCE)
    for _ in range(AT_ONCE):
        worker.end(worker.next(), refused(30))
    end_cooldown(worker)
    limits.fill(worker.ledger)
    worker.end(worker.next())
    one, two = worker.next(), worker.next()
    if first == "success":
        while_open(worker.ledger, lambda tx: complete(tx, one), lambda: other.end(two, refused(30)))
    else:
        while_open(worker.ledger, lambda tx: refuse(tx, two), lambda: other.end(one))
    limit = worker.limit(API)
    strikes = 1 if first == "success" else 2  # that success has ended the ramp of the cooldown before
    assert (limit.ramp, limit.strikes, limit.carried) == (1, strikes, 0)
    assert 29 < seconds_left(worker) <= 30


def test_two_refusals_at_one_time_are_one(pair: list[LimitedWorker]) -> None:
    worker, other = pair
    for _ in range(ROUNDS):
        worker.begin_all([call.s()] * 2)
        one, two = worker.next(), worker.next()
        before = worker.limit(API).strikes
        concurrently([partial(worker.end, one, refused(30)), partial(other.end, two, refused(30))])
        assert (worker.limit(API).strikes, worker.limit(API).used) == (before + 1, 0)
        open_again(worker)


def test_a_claim_beside_a_refusal_takes_its_job_once(pair: list[LimitedWorker]) -> None:
    worker, other = pair
    _, queued = worker.begin_all([call.s()] * 2)
    claimed = worker.next()
    message = worker.published.popleft()
    while_open(worker.ledger, lambda tx: refuse(tx, claimed), lambda: other.claim(message))
    assert worker.job(queued).status == "running"
    assert (worker.limit(API).used, worker.limit(API).carried) == (1, 1)


def test_jobs_of_two_limits_are_refused_and_succeed_at_one_time_without_a_deadlock(
    pair: list[LimitedWorker],
) -> None:
    worker, other = pair
    for _ in range(ROUNDS):
        jobs = worker.begin_all([call_with_gpu.s(), call.s(), call.s(), render.s()])
        both, one, two = worker.next(), worker.next(), worker.next()
        concurrently([partial(worker.end, both, refused(30)), partial(other.end, one), partial(other.end, two)])
        open_again(worker, other)
        assert worker.statuses(jobs) == [SUCCEEDED] * 4
        forget_cooldown(worker)
        assert (worker.limit(API).used, worker.limit(GPU).used) == (0, 0)


def open_again(*fakes: LimitedWorker) -> None:
    """End the cooldown, and let all jobs succeed."""
    end_cooldown(fakes[0])
    limits.fill(fakes[0].ledger)
    while any(fake.published for fake in fakes):
        for fake in fakes:
            if fake.published:
                fake.end(fake.next())
