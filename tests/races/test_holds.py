"""Slots that attempts hold, beside those that end the attempts: each is taken by one, and freed once."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial

import pytest

from agentq.exceptions import StateConflict
from agentq.ledger import attempts, holds, limits, moves
from agentq.ledger.caretaking import rescues
from agentq.ledger.holds import Full, Wanted
from agentq.operations import audit
from agentq.policies.limits import Meters, PerTime
from tests.races.overlap import concurrently, while_open
from tests.support.fake_worker import decided
from tests.support.holding import CALLS, ONE, HoldingWorker, solve
from tests.support.limited import BLOCKED, QUEUED, SLOTS, ask
from tests.support.paced import call

SMALL = "model:small"
ROUNDS = 10
WANTED = Wanted(CALLS, ONE)

# SQLite has one writer at a time.
pytestmark = pytest.mark.parametrize("database", ["postgresql"], indirect=True, scope="session")


@pytest.fixture
def pair(ledger_url: str) -> Iterator[list[HoldingWorker]]:
    """Two workers that share nothing but the ledger, which is sound after each test."""
    with ExitStack() as stack:
        both = [HoldingWorker(ledger_url) for _ in range(2)]
        for worker in both:
            stack.callback(worker.ledger.close)
        yield both
        assert audit.run(both[0].ledger).is_sound


def begun(worker: HoldingWorker) -> uuid.UUID:
    """Begin a call of a job; returns its hold."""
    hold = worker.call(worker.research())
    assert isinstance(hold, uuid.UUID)
    return hold


@pytest.mark.parametrize("commit", [True, False], ids=["committed", "rolled-back"])
def test_of_two_calls_one_gets_the_one_slot(pair: list[HoldingWorker], commit: bool) -> None:
    worker, other = pair
    one, two = worker.research(), worker.research()
    holds.free(worker.ledger, begun(worker))  # so that the limit is there
    first, hold = uuid.uuid4(), uuid.uuid4()
    take = partial(holds.take, other.ledger, hold, two, WANTED)
    _, found = while_open(worker.ledger, lambda tx: holds._take(tx, first, one, WANTED), take, commit=commit)
    assert found == (Full(1, 1) if commit else 0.0)
    assert [held.id for held in worker.holds()] == [first if commit else hold]
    assert worker.limit(CALLS).used == 1


def test_of_two_first_calls_of_a_limit_one_gets_the_one_slot(pair: list[HoldingWorker]) -> None:
    worker, other = pair
    for number in range(ROUNDS):
        one, two = worker.research(), worker.research()
        name = f"{CALLS}:{number}"
        found = concurrently(
            [partial(worker.call, one, limit=name), partial(other.call, two, limit=name)],
        )
        assert sorted(isinstance(hold, Full) for hold in found) == [False, True]
        assert worker.limit(name).used == 1


@pytest.mark.parametrize("commit", [True, False], ids=["committed", "rolled-back"])
def test_the_end_of_a_call_beside_the_rescue_of_its_attempt_frees_its_slot_once(
    pair: list[HoldingWorker], commit: bool
) -> None:
    worker, caretaker = pair
    hold = begun(worker)
    worker.lose()
    while_open(
        caretaker.ledger,
        lambda tx: moves.free_spent_holds(tx, 10),
        partial(holds.free, worker.ledger, hold),
        commit=commit,
    )
    assert (worker.limit(CALLS).used, worker.holds()) == (0, [])


@pytest.mark.parametrize("first", ["claim", "call"])
def test_a_start_that_one_has_paid_is_seen_by_the_other_that_waited_for_it(
    pair: list[HoldingWorker], first: str
) -> None:
    worker, other = pair
    wanted = Wanted("calls", Meters(rate=PerTime(7, 60.0, 1)))
    running = worker.research()
    [job] = worker.begin_all([call.s()])
    message = worker.published.popleft()
    if first == "call":
        found, claimed = while_open(
            other.ledger,
            lambda tx: holds._take(tx, uuid.uuid4(), running, wanted),
            partial(worker.claim, message),
        )
        assert (found, claimed, worker.job(job).status) == (0.0, None, BLOCKED)
    else:
        claimed, found = while_open(
            worker.ledger,
            lambda tx: attempts.claim(tx, job, message.step, worker.worker_id, 7, None, None, True),
            partial(holds.take, other.ledger, uuid.uuid4(), running, wanted),
        )
        assert claimed.has_paid
        assert isinstance(found, Full)
        assert found.due_in > 5
    worker.end(running)
    worker.tidy()


def test_ends_of_calls_and_caretakers_free_each_slot_once(pair: list[HoldingWorker]) -> None:
    worker, caretaker = pair
    for _ in range(ROUNDS):
        worker.renew(600)
        claim = worker.research()
        calls = [worker.call(claim, limit=f"{CALLS}:{number}") for number in range(3)]
        worker.lose(pause=60)
        ends = [partial(holds.free, worker.ledger, hold) for hold in calls if isinstance(hold, uuid.UUID)]
        free_all = partial(holds.free_all_of, worker.ledger, claim.job_id, claim.attempt)
        concurrently([*ends, caretaker.tidy, worker.tidy, free_all])
        assert worker.holds() == []
        assert {worker.limit(f"{CALLS}:{number}").used for number in range(3)} == {0}


def test_a_call_that_begins_beside_the_rescue_of_its_attempt_gets_no_slot(pair: list[HoldingWorker]) -> None:
    worker, caretaker = pair
    claim = worker.research()
    worker.renew(-1)

    def call() -> str:
        try:
            return str(worker.call(claim))
        except StateConflict:
            return "refused"

    _, found = while_open(caretaker.ledger, lambda tx: rescues.rescue_lost(tx, decided(60), 10), call)
    assert (found, worker.holds()) == ("refused", [])


def test_a_rescue_beside_a_call_that_begins_leaves_the_attempt_for_the_next_round(
    pair: list[HoldingWorker],
) -> None:
    worker, caretaker = pair
    claim, hold = worker.research(), uuid.uuid4()
    worker.renew(-1)
    _, rescued = while_open(
        worker.ledger,
        lambda tx: holds._take(tx, hold, claim, WANTED),
        lambda: caretaker.ledger.write(lambda tx: rescues.rescue_lost(tx, decided(60), 10)),
    )
    assert rescued == []
    assert caretaker.lose(pause=60) == 1
    caretaker.tidy()
    assert (worker.limit(CALLS).used, worker.holds()) == (0, [])


def test_a_slot_of_a_call_goes_to_one_job_whoever_frees_it(pair: list[HoldingWorker]) -> None:
    worker, caretaker = pair
    for _ in range(ROUNDS):
        claim = worker.research()
        calls = [worker.call(claim, Meters(slots=SLOTS), SMALL) for _ in range(SLOTS)]
        jobs = worker.begin_all([ask.s()] * (SLOTS + 1))
        assert worker.statuses(jobs) == [BLOCKED] * (SLOTS + 1)
        ends = [partial(holds.free, pair[0].ledger, hold) for hold in calls if isinstance(hold, uuid.UUID)]
        concurrently([*ends, partial(limits.admit, caretaker.ledger, SMALL)])
        assert (worker.statuses(jobs).count(QUEUED), worker.limit(SMALL).used) == (SLOTS, SLOTS)
        worker.end(claim)
        while worker.published or caretaker.published:
            worker.published.extend(caretaker.published)
            caretaker.published.clear()
            worker.end(worker.next())
        assert worker.limit(SMALL).used == 0


def test_caretakers_keep_the_slot_of_a_lost_attempt_once(pair: list[HoldingWorker]) -> None:
    worker, caretaker = pair
    worker.begin_all([solve.s()])
    worker.next()
    with worker.dying():
        worker.lose(pause=60)
    concurrently([worker.tidy, caretaker.tidy])
    assert (worker.limit("licence").used, len(worker.holds())) == (1, 1)
    worker.let_time_come()
    concurrently([worker.tidy, caretaker.tidy])
    assert (worker.limit("licence").used, worker.holds()) == (0, [])
