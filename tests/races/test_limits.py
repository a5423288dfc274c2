"""Jobs that wait for a limit, beside those that free its slots: none is forgotten, and no slot is given twice."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import pytest
from sqlalchemy import select, text, update

from agentq.ledger import attempts, limits, moves
from agentq.ledger.caretaking import rescues, take_backs
from agentq.ledger.db.types import now
from agentq.ledger.models import JobRow, LimitRow, TurnRow
from agentq.ledger.records import Claim
from agentq.ledger.transaction import Transaction
from agentq.outcomes import Fail
from agentq.policies.limits import Meters
from agentq.policies.limits_file import NO_FILE
from agentq.states import JobStatus
from tests.ledger.test_limits import SMALL, cancel
from tests.races.overlap import a_session_waits, concurrently, while_open
from tests.support import eventually
from tests.support.fake_worker import FAILURE, decided
from tests.support.limited import BLOCKED, DONE, QUEUED, SLOTS, LimitedWorker, ask, render, train

ROUNDS = 10

# SQLite has one writer at a time.
pytestmark = pytest.mark.parametrize("database", ["postgresql"], indirect=True, scope="session")


@pytest.fixture
def pair(ledger_url: str) -> Iterator[list[LimitedWorker]]:
    """Two workers that share nothing but the ledger."""
    with workers(ledger_url, 2) as both:
        yield both


@contextmanager
def workers(url: str, count: int) -> Iterator[list[LimitedWorker]]:
    """Workers with connections of their own."""
    with ExitStack() as stack:
        made = [LimitedWorker(url) for _ in range(count)]
        for worker in made:
            stack.callback(worker.ledger.close)
        yield made


def begin(worker: LimitedWorker, count: int = SLOTS) -> list[Claim]:
    """Start jobs of the limit and claim them."""
    worker.begin_all([ask.s()] * count)
    return [worker.next() for _ in range(count)]


def complete(tx: Transaction, claimed: Claim) -> bool:
    return attempts.record(tx, claimed, DONE)


def begin_unannounced(worker: LimitedWorker, tenant: str) -> Any:
    """Start a job whose line is not told of it yet, as between the commit and what follows it."""
    with worker.dying():
        return worker.begin_all([ask.s()], tenant=tenant)[0]


@pytest.mark.parametrize("tenant", ["acme", "new"])
def test_a_job_whose_line_is_not_told_of_it_yet_finds_the_slot_that_a_completion_frees(
    pair: list[LimitedWorker], tenant: str
) -> None:
    worker, starter = pair
    claimed, _ = begin(worker)
    job = begin_unannounced(starter, tenant)
    while_open(
        worker.ledger, lambda tx: complete(tx, claimed), lambda: limits.enter(starter.ledger, SMALL, tenant)
    )
    assert starter.job(job).status == QUEUED
    assert starter.limit(SMALL).used == SLOTS


def test_a_completion_that_finds_a_job_just_beginning_to_wait_admits_it(pair: list[LimitedWorker]) -> None:
    worker, starter = pair
    claimed, _ = begin(worker)
    worker.ledger.write(lambda tx: tx.connection.execute(update(LimitRow).values(is_awaited=False)))
    job = begin_unannounced(starter, "new")

    def begin_to_wait(tx: Transaction) -> bool:
        moves.await_slot(tx, SMALL, "new")
        return moves.has_room(tx, SMALL)

    has_room, accepted = while_open(starter.ledger, begin_to_wait, lambda: worker.end(claimed))
    assert (has_room, accepted) == (False, True)
    assert worker.job(job).status == QUEUED
    assert worker.limit(SMALL).used == SLOTS


@pytest.mark.parametrize("commit", [True, False], ids=["committed", "rolled-back"])
def test_one_of_two_completions_hands_its_slot_to_the_one_job_that_waits(
    pair: list[LimitedWorker], commit: bool
) -> None:
    worker, other = pair
    one, two = begin(worker)
    [job] = worker.begin_all([ask.s()])
    while_open(worker.ledger, lambda tx: complete(tx, one), lambda: other.end(two), commit=commit)
    if not commit:
        limits.fill(worker.ledger)  # the job was locked while the other slot came free
    assert worker.job(job).status == QUEUED
    assert worker.limit(SMALL).used == (1 if commit else SLOTS)


def test_completions_at_one_time_admit_one_job_each(pair: list[LimitedWorker]) -> None:
    worker, other = pair
    for waiting in (1, 2, 3) * 3:
        one, two = begin(worker)
        jobs = worker.begin_all([ask.s()] * waiting)
        concurrently([partial(worker.end, one), partial(other.end, two)])
        limits.fill(worker.ledger)
        statuses = worker.statuses(jobs)
        assert statuses.count(QUEUED) == worker.limit(SMALL).used == min(waiting, SLOTS)
        while worker.published or other.published:
            worker.published += other.published
            other.published.clear()
            worker.end(worker.next())
        assert worker.limit(SMALL).used == 0


def test_a_job_that_is_being_cancelled_is_passed_over(pair: list[LimitedWorker]) -> None:
    worker, operator = pair
    claimed, _ = begin(worker)
    first, second = worker.begin_all([ask.s()] * 2)
    taken = update(JobRow).where(JobRow.id == first).values(status="cancelled", finished_at=now())
    while_open(operator.ledger, lambda tx: tx.connection.execute(taken), lambda: worker.end(claimed))
    assert worker.statuses([first, second]) == [JobStatus.CANCELLED, QUEUED]
    cancel(operator, first)


def test_a_cancel_that_finds_the_admission_open_gives_the_slot_back(pair: list[LimitedWorker]) -> None:
    worker, operator = pair
    claimed, _ = begin(worker)
    first, second = worker.begin_all([ask.s()] * 2)
    while_open(worker.ledger, lambda tx: complete(tx, claimed), lambda: cancel(operator, first))
    assert worker.statuses([first, second]) == [JobStatus.CANCELLED, BLOCKED]
    limits.fill(worker.ledger)
    assert worker.job(second).status == QUEUED
    assert worker.limit(SMALL).used == SLOTS


def lower(tx: Transaction) -> None:
    moves.redeclare(tx, {"model": Meters(slots=SLOTS - 1)}, NO_FILE)


def test_a_hand_over_beside_a_limit_that_is_lowered_leaves_no_more_holders_than_there_were(
    pair: list[LimitedWorker],
) -> None:
    worker, operator = pair
    one, two = begin(worker)
    jobs = worker.begin_all([ask.s()] * 3)
    while_open(operator.ledger, lower, lambda: worker.end(one))
    assert (worker.statuses(jobs), worker.limit(SMALL).used) == ([QUEUED, BLOCKED, BLOCKED], SLOTS)
    worker.end(two)  # its slot is gone
    assert (worker.statuses(jobs), worker.limit(SMALL).used) == ([QUEUED, BLOCKED, BLOCKED], SLOTS - 1)
    worker.end(worker.next())
    assert worker.statuses(jobs) == [JobStatus.SUCCEEDED, QUEUED, BLOCKED]


def test_a_job_that_waits_for_a_limit_that_is_being_lowered_sees_its_new_slots(pair: list[LimitedWorker]) -> None:
    worker, operator = pair
    begin(worker, SLOTS - 1)
    job = begin_unannounced(worker, "new")
    while_open(operator.ledger, lower, lambda: limits.enter(worker.ledger, SMALL, "new"))
    assert (worker.job(job).status, worker.limit(SMALL).used) == (BLOCKED, SLOTS - 1)


@pytest.mark.parametrize("first", ["rescue", "completion"])
def test_a_completion_that_comes_after_the_rescue_gives_no_slot_back(
    pair: list[LimitedWorker], first: str
) -> None:
    worker, caretaker = pair
    claimed, _ = begin(worker)
    jobs = worker.begin_all([ask.s()] * 2)
    worker.renew(-1)

    def rescue(tx: Transaction) -> int:
        return len(rescues.rescue_lost(tx, lambda row, why: Fail(FAILURE), 1))

    if first == "rescue":
        rescued, accepted = while_open(caretaker.ledger, rescue, lambda: worker.end(claimed))
    else:
        accepted, rescued = while_open(
            worker.ledger, lambda tx: complete(tx, claimed), lambda: caretaker.ledger.write(rescue)
        )
    assert (rescued, accepted) == ((1, False) if first == "rescue" else (1, True))
    limits.fill(caretaker.ledger)
    held = sum(worker.job(job).held for job in jobs)
    assert worker.limit(SMALL).used == held + (first == "rescue")


def test_a_rescue_that_queues_the_job_again_keeps_its_slot_from_the_late_completion(
    pair: list[LimitedWorker],
) -> None:
    worker, caretaker = pair
    [claimed] = begin(worker, 1)
    worker.renew(-1)
    _, accepted = while_open(
        caretaker.ledger, lambda tx: rescues.rescue_lost(tx, decided(0), 10), lambda: worker.end(claimed)
    )
    assert not accepted
    assert (worker.job(claimed.job_id).status, worker.job(claimed.job_id).held) == (QUEUED, 1)
    assert worker.limit(SMALL).used == 1


@pytest.mark.parametrize("first", ["hand-over", "next"])
def test_the_next_job_of_a_tenant_whose_last_one_is_being_admitted_is_not_forgotten(
    pair: list[LimitedWorker], first: str
) -> None:
    worker, starter = pair
    one, two = begin(worker)
    worker.begin_all([ask.s()], tenant="small")
    job = begin_unannounced(starter, "small")
    if first == "hand-over":
        while_open(
            worker.ledger, lambda tx: complete(tx, one), lambda: limits.enter(starter.ledger, SMALL, "small")
        )
    else:
        while_open(starter.ledger, lambda tx: moves.await_slot(tx, SMALL, "small"), lambda: worker.end(one))
    turn = select(TurnRow.is_idle).where(TurnRow.name == SMALL, TurnRow.tenant == "small")
    assert worker.ledger.read(lambda connection: connection.scalar(turn)) is False
    assert worker.job(job).status == BLOCKED
    worker.end(two)
    assert worker.job(job).status == QUEUED


def test_a_line_into_which_a_job_is_being_moved_stays_awaited(pair: list[LimitedWorker]) -> None:
    worker, other = pair
    begin(worker)
    worker.begin_all([render.s()])
    [both] = worker.begin_all([train.s()])
    assert worker.limit(SMALL).is_awaited

    def move_on(tx: Transaction) -> None:
        job = moves.lock_first_in_line(tx, "gpu")
        moves.lock_limits(tx, ["gpu", SMALL])
        moves.refuse(tx, "gpu", job, SMALL, ())

    while_open(worker.ledger, move_on, lambda: other.ledger.write(lambda tx: moves.await_no_longer(tx, SMALL)))
    assert (worker.job(both).blocked_on, worker.limit(SMALL).is_awaited) == (SMALL, True)


def test_a_tenant_whose_last_job_is_admitted_while_another_is_moved_into_the_line_keeps_its_turn(
    pair: list[LimitedWorker],
) -> None:
    worker, other = pair
    one, two = begin(worker)
    worker.begin_all([ask.s()], tenant="small")
    worker.begin_all([render.s()])
    [both] = worker.begin_all([train.s()], tenant="small")

    def move_on(tx: Transaction) -> None:
        job = moves.lock_first_in_line(tx, "gpu")
        moves.lock_limits(tx, ["gpu", SMALL])
        moves.refuse(tx, "gpu", job, SMALL, ())

    while_open(other.ledger, move_on, lambda: worker.end(one))
    assert worker.job(both).blocked_on == SMALL
    turn = select(TurnRow.is_idle).where(TurnRow.name == SMALL, TurnRow.tenant == "small")
    assert worker.ledger.read(lambda connection: connection.scalar(turn)) is False
    worker.end(two)
    assert worker.job(both).blocked_on == "gpu"  # it had its turn, and that limit is full


def test_a_line_that_a_job_begins_to_stand_in_stays_awaited(pair: list[LimitedWorker]) -> None:
    worker, starter = pair
    begin(worker)
    [job] = worker.begin_all([ask.s()])
    starter.ledger.write(lambda tx: moves.await_no_longer(tx, SMALL))
    assert (worker.job(job).status, worker.limit(SMALL).is_awaited) == (BLOCKED, True)


def nobody_has(tx: Transaction, limit: str) -> bool:
    """Say whether no other transaction has locked a limit, and lock it."""
    free = select(LimitRow.name).where(LimitRow.name == limit).with_for_update(skip_locked=True)
    return tx.connection.scalar(free) is not None


def test_limits_are_locked_in_the_order_of_code_whatever_the_collation_of_the_database(
    pair: list[LimitedWorker],
) -> None:
    """Slots are given back in that order: another one would let two transactions wait for each other."""
    names = ["B", "a", "a:Z", "a:b"]
    with pair[0].ledger.engine.connect() as connection:
        connection.execute(text('ALTER TABLE agentq_limits ALTER name TYPE varchar(255) COLLATE "en-x-icu"'))
        tx = Transaction(connection)
        moves.declare(tx, {name: Meters(slots=1) for name in names})
        assert list(moves.lock_limits(tx, names)) == sorted(names)


@pytest.mark.parametrize("what", ["an admission", "many slots given back"])
def test_two_limits_are_locked_in_the_order_of_their_names_by_all(pair: list[LimitedWorker], what: str) -> None:
    """Otherwise two transactions could wait for each other."""
    worker, other = pair
    worker.begin_all([ask.s()])
    worker.begin_all([render.s()])  # so its limit comes later in the table
    if what == "an admission":
        work = partial(moves.lock_limits, limits=[SMALL, "gpu"])
    else:
        with worker.dying():
            for _ in range(2):
                worker.end(worker.next(), Fail(FAILURE))
        work = partial(moves.give_back, job_id=None, most=10)
    with ThreadPoolExecutor(1) as pool:
        with worker.ledger.engine.begin() as connection:
            tx = Transaction(connection)
            moves.lock_limits(tx, ["gpu"])
            locked = pool.submit(other.ledger.write, work)
            eventually(lambda: a_session_waits(worker.ledger), what="a wait for the first limit")
            assert nobody_has(tx, SMALL)
        locked.result(30)


def test_a_job_that_keeps_a_slot_is_admitted_with_its_limits_locked_in_their_order(
    pair: list[LimitedWorker],
) -> None:
    """Otherwise it would lock the limit of the slot that it keeps last, which others lock first."""
    worker, other = pair
    worker.begin_all([render.s(), ask.s(), ask.s()])
    [both] = worker.begin_all([train.s()])
    worker.set(both, refused=9)
    worker.end(worker.next())
    with worker.dying():
        worker.end(worker.next(), Fail(FAILURE))
    assert (worker.job(both).held, worker.job(both).blocked_on) == (1, SMALL)
    with ThreadPoolExecutor(1) as pool:
        with worker.ledger.engine.begin() as connection:
            tx = Transaction(connection)
            moves.lock_limits(tx, ["gpu"])
            admitted = pool.submit(limits.fill, other.ledger)
            eventually(lambda: a_session_waits(worker.ledger), what="a wait for the first limit")
            assert nobody_has(tx, SMALL)
        admitted.result(30)
    assert worker.job(both).status == QUEUED


def test_jobs_of_two_limits_and_of_one_end_and_begin_at_one_time(pair: list[LimitedWorker]) -> None:
    worker, other = pair
    for _ in range(ROUNDS):
        concurrently(
            [
                partial(worker.begin_all, [train.s(), ask.s(), render.s()]),
                partial(other.begin_all, [render.s(), train.s(), ask.s()]),
            ]
        )
        while worker.published or other.published:
            ready = [fake for fake in pair if fake.published]
            concurrently([partial(fake.end, fake.next()) for fake in ready])
            limits.fill(worker.ledger)
        assert (worker.limit("gpu").used, worker.limit(SMALL).used) == (0, 0)


def begin_deserted(pair: list[LimitedWorker]) -> tuple[Any, Any]:
    """A job that holds all slots of a limit and waits for a worker for long, and one that waits for a slot."""
    for one in pair:
        one.renew(600, queues=["celery"])
    worker, _ = pair
    [job] = worker.begin_all([render.s().set(queue="deserted")])
    [waits] = worker.begin_all([render.s()])
    worker.age(job, dispatched_at=61)
    return job, waits


def test_a_job_that_a_worker_claims_just_then_keeps_its_slot(pair: list[LimitedWorker]) -> None:
    worker, caretaker = pair
    job, waits = begin_deserted(pair)
    message = worker.published.popleft()

    def claim(tx: Transaction) -> Claim | None:
        return attempts.claim(tx, job, message.step, worker.worker_id, 7, sent_to=message.queue)

    claimed, taken = while_open(worker.ledger, claim, lambda: take_backs.take_back(caretaker.ledger))
    assert (claimed is not None, taken) == (True, {})
    assert worker.statuses([job, waits]) == [JobStatus.RUNNING, BLOCKED]
    assert (worker.job(job).held, worker.limit("gpu").used) == (1, 1)


def test_a_claim_that_finds_the_slots_taken_back_takes_nothing(pair: list[LimitedWorker]) -> None:
    worker, caretaker = pair
    job, waits = begin_deserted(pair)
    message = worker.published.popleft()
    _, claimed = while_open(
        caretaker.ledger, lambda tx: moves.take_back(tx, job, 60.0), lambda: worker.claim(message)
    )
    assert claimed is None
    limits.fill(worker.ledger)
    assert worker.statuses([job, waits]) == [BLOCKED, QUEUED]
    assert worker.limit("gpu").used == 1


def test_two_caretakers_take_the_slots_of_a_job_back_once(pair: list[LimitedWorker]) -> None:
    worker, _ = pair
    job, waits = begin_deserted(pair)
    taken = concurrently([partial(take_backs.take_back, fake.ledger) for fake in pair])
    assert sorted(taken, key=len) == [{}, {"deserted": 1}]
    assert worker.statuses([job, waits]) == [BLOCKED, QUEUED]
    assert worker.limit("gpu").used == 1
