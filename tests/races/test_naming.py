"""Two messages of a job whose limits have no names yet: the names are given once, and so are its slots."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from agentq.ledger import attempts, moves, naming
from agentq.ledger.records import Claim, Dispatch
from agentq.steps.naming import JobLimits
from tests.ledger.test_naming import GPT, hand_over, unnamed, without_pay
from tests.races.overlap import while_open
from tests.races.test_limits import workers
from tests.support.limited import BLOCKED, LimitedWorker, ask
from tests.support.steps import echo

# SQLite has one writer at a time.
pytestmark = pytest.mark.parametrize("database", ["postgresql"], indirect=True, scope="session")


@pytest.fixture
def pair(ledger_url: str) -> Iterator[list[LimitedWorker]]:
    """Two workers that share nothing but the ledger."""
    with workers(ledger_url, 2) as both:
        yield both


@pytest.mark.parametrize("commit", [True, False], ids=["committed", "rolled-back"])
def test_one_of_two_messages_names_the_limits(pair: list[LimitedWorker], commit: bool) -> None:
    worker, other = pair
    _, message = hand_over(worker, echo.s("gpt") | ask.s())
    job = unnamed(worker, message)
    limits = worker.limits_of(job)
    first, second = while_open(
        worker.ledger,
        lambda tx: naming.name_limits(tx, job, limits),
        lambda: other.ledger.write(lambda tx: naming.name_limits(tx, job, limits)),
        commit=commit,
    )
    assert (first, second) == (BLOCKED, None if commit else BLOCKED)
    assert worker.job(message.job_id).limits == [GPT]


def test_a_job_without_limits_is_claimed_by_one_of_two_messages(pair: list[LimitedWorker]) -> None:
    worker, other = pair
    _, message = hand_over(worker, echo.s("gpt") | ask.s())
    job = unnamed(worker, message)
    _, second = while_open(
        worker.ledger,
        lambda tx: naming.name_limits(tx, job, JobLimits()),
        lambda: other.ledger.write(lambda tx: naming.name_limits(tx, job, JobLimits())),
    )
    assert second is None
    taken = [one.claim(without_pay(message)) for one in pair]
    assert sum(claimed is not None for claimed in taken) == 1


def test_names_are_not_given_to_a_job_that_moves_to_another_queue_beside_it(pair: list[LimitedWorker]) -> None:
    worker, other = pair
    _, message = hand_over(worker, echo.s("gpt") | ask.s())
    job = unnamed(worker, message)
    limits = worker.limits_of(job)
    _, named = while_open(
        worker.ledger,
        lambda tx: moves.move_job(tx, message.job_id, "other"),
        lambda: other.ledger.write(lambda tx: naming.name_limits(tx, job, limits)),
    )
    assert named is None
    assert worker.job(message.job_id).limits == []


def test_a_job_that_one_message_names_is_not_failed_by_another(pair: list[LimitedWorker]) -> None:
    worker, other = pair
    _, message = hand_over(worker, echo.s("gpt") | ask.s())
    job = unnamed(worker, message)
    limits = worker.limits_of(job)
    _, claimed = while_open(
        worker.ledger, lambda tx: naming.name_limits(tx, job, limits), lambda: _claim_to_fail(other, message)
    )
    assert claimed is None
    assert worker.job(message.job_id).attempt == 0


def _claim_to_fail(worker: LimitedWorker, message: Dispatch) -> Claim | None:
    token = moves.new_claim_token()
    return worker.ledger.write_statement(
        lambda tx: attempts.claim(tx, message.job_id, message.step, worker.worker_id, token, is_unnamed=True)
    )
