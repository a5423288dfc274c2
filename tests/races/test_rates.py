"""Claims that pay for their starts beside each other, and beside cancels: none is early, and none pays twice."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import update

from agentq import Rate, step
from agentq.ledger import attempts, limits
from agentq.ledger.db.types import now
from agentq.ledger.models import JobRow
from agentq.ledger.records import Claim, Dispatch
from agentq.ledger.transaction import Transaction
from agentq.states import JobStatus
from tests.ledger.test_limits import cancel
from tests.races.overlap import a_session_waits, while_open
from tests.support import eventually
from tests.support.limited import BLOCKED
from tests.support.paced import BUCKET, GAP, PacedWorker, call, spend

# SQLite has one writer at a time.
pytestmark = pytest.mark.parametrize("database", ["postgresql"], indirect=True, scope="session")

PAUSE = 0.5
"""Seconds from one start of ``call_soon`` to the next."""


@step(limits=[Rate("soon", limit=2, per=PAUSE)])
def call_soon() -> None:
    """A call of which one may start each half a second."""


@pytest.fixture
def pair(ledger_url: str) -> Iterator[list[PacedWorker]]:
    """Two workers that share nothing but the ledger."""
    both = [PacedWorker(ledger_url), PacedWorker(ledger_url)]
    yield both
    for worker in both:
        worker.ledger.close()


def claiming(worker: PacedWorker, message: Dispatch, token: int = 1) -> Callable[[Transaction], Claim | None]:
    def claim(tx: Transaction) -> Claim | None:
        return attempts.claim(tx, message.job_id, message.step, worker.worker_id, token, pays=True)

    return claim


@pytest.mark.parametrize("commit", [True, False], ids=["committed", "rolled-back"])
def test_of_two_claims_one_takes_the_start_that_is_left(pair: list[PacedWorker], commit: bool) -> None:
    worker, other = pair
    worker.begin_all([call.s()] * 2)
    first, second = [worker.published.popleft(), *worker.admit_all("calls")]
    one, two = while_open(worker.ledger, claiming(worker, first), lambda: other.claim(second), commit=commit)
    assert one is not None
    assert (two is None) is commit
    assert worker.due_in("calls") == pytest.approx(GAP, abs=4)


def test_of_two_claims_one_takes_the_tokens_that_are_left(pair: list[PacedWorker]) -> None:
    worker, other = pair
    jobs = worker.begin_all([spend.s(tokens=BUCKET)] * 2)
    first, second = [worker.published.popleft(), *worker.admit_all("spent")]
    _, two = while_open(worker.ledger, claiming(worker, first), lambda: other.claim(second))
    assert two is None
    assert worker.statuses(jobs) == [JobStatus.RUNNING, BLOCKED]


def test_a_claim_that_waited_for_another_one_reads_the_clock_after_that(pair: list[PacedWorker]) -> None:
    worker, other = pair
    worker.begin_all([call_soon.s()] * 2)
    first, second = [worker.published.popleft(), *worker.admit_all("soon")]

    with ThreadPoolExecutor(1) as pool, worker.ledger.engine.connect() as connection:
        transaction = connection.begin()
        assert claiming(worker, first)(Transaction(connection)) is not None
        waiting = pool.submit(other.claim, second)
        eventually(lambda: a_session_waits(worker.ledger), what="a wait for the first claim")
        time.sleep(PAUSE)  # until the next start is due
        transaction.commit()
        claimed = waiting.result(30)
    assert claimed is not None
    assert claimed.begins_in < PAUSE / 2


def test_a_claim_whose_first_try_is_under_way_pays_once(pair: list[PacedWorker]) -> None:
    worker, again = pair
    again.worker_id = worker.worker_id
    worker.begin_all([call.s()])
    message = worker.published.popleft()
    one, two = while_open(worker.ledger, claiming(worker, message, 7), lambda: again.claim(message, token=7))
    assert (one.attempt, two.attempt, two.started_at) == (1, 1, one.started_at)
    assert worker.due_in("calls") == pytest.approx(GAP, abs=4)


def test_a_claim_beside_the_cancel_of_its_job_pays_nothing(pair: list[PacedWorker]) -> None:
    worker, operator = pair
    [job] = worker.begin_all([call.s()])
    cancelled = update(JobRow).where(JobRow.id == job).values(status="cancelled", finished_at=now())
    message = worker.published.popleft()
    _, claimed = while_open(
        operator.ledger, lambda tx: tx.connection.execute(cancelled), lambda: worker.claim(message)
    )
    assert claimed is None
    assert worker.due_in("calls") < 0
    limits.fill(worker.ledger)
    assert (worker.limit("calls").used, worker.limit("calls").outstanding) == (0, 0)
    cancel(operator, job)


def test_an_admission_beside_a_claim_of_the_last_start_admits_no_job(pair: list[PacedWorker]) -> None:
    worker, caretaker = pair
    jobs = worker.begin_all([call.s()] * 2)
    message = worker.published.popleft()
    while_open(
        worker.ledger,
        claiming(worker, message),
        lambda: limits.pace(caretaker.ledger, "calls", caretaker.worker_id),
    )
    assert worker.statuses(jobs) == [JobStatus.RUNNING, BLOCKED]
