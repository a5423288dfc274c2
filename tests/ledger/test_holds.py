"""Slots that attempts hold beside those of their jobs: taken for a call, or kept after a loss; each freed once."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import update

from agentq.exceptions import InvalidArguments, StateConflict
from agentq.ledger import cancels, holds, moves, retention
from agentq.ledger.caretaking import expiry
from agentq.ledger.caretaking.work import Work, find_work
from agentq.ledger.holds import Full, Wanted
from agentq.ledger.models import LimitRow
from agentq.operations import audit
from agentq.outcomes import Cancelled, Fail, Outcome, RetryLater, Succeed
from agentq.policies.limits import Meters
from agentq.policies.limits_file import NO_FILE
from tests.support.fake_worker import FAILURE
from tests.support.holding import CALLS, LONG, ONE, STRICT, HoldingWorker, solve
from tests.support.limited import BLOCKED, QUEUED, SLOTS, ask, render, train

SMALL = "model:small"
LICENCE = "licence"


@pytest.fixture
def worker(ledger_url: str) -> Iterator[HoldingWorker]:
    """A worker that gets the messages that the ledger publishes; after each test the ledger is sound."""
    worker = HoldingWorker(ledger_url)
    yield worker
    assert audit.run(worker.ledger).is_sound
    worker.ledger.close()


def used(worker: HoldingWorker, limit: str = CALLS) -> int:
    return int(worker.limit(limit).used)


def test_a_call_takes_a_slot_and_a_second_one_finds_none_until_the_first_has_ended(worker: HoldingWorker) -> None:
    one, two = worker.research(), worker.research()
    hold = worker.call(one)
    assert worker.call(two) == Full(used=1, slots=1)
    assert isinstance(hold, uuid.UUID)
    holds.free(worker.ledger, hold)
    assert isinstance(worker.call(two), uuid.UUID)
    assert [(held.name, held.job_id, held.attempt, held.until) for held in worker.holds()] == [
        (CALLS, two.job_id, 1, None)
    ]
    assert used(worker) == 1


def test_a_call_whose_reply_was_lost_finds_its_slot(worker: HoldingWorker) -> None:
    claim, hold = worker.research(), uuid.uuid4()
    assert [holds.take(worker.ledger, hold, claim, Wanted(CALLS, ONE)) for _ in range(2)] == [0, 0]
    assert (used(worker), len(worker.holds())) == (1, 1)


def test_a_slot_that_is_freed_twice_is_free_once(worker: HoldingWorker) -> None:
    one, two = worker.research(), worker.research()
    first, second = worker.call(one, Meters(slots=2)), worker.call(two)
    assert isinstance(first, uuid.UUID)
    assert isinstance(second, uuid.UUID)
    for _ in range(2):
        holds.free(worker.ledger, first)
    assert (used(worker), len(worker.holds())) == (1, 1)


@pytest.mark.parametrize(
    "outcome",
    [Succeed("null"), Fail(FAILURE), RetryLater(FAILURE, 60), RetryLater(FAILURE, 0), Cancelled("not wanted")],
    ids=["success", "failure", "pause", "retry", "cancel"],
)
def test_a_slot_that_its_attempt_left_behind_is_found_when_the_attempt_is_over(
    worker: HoldingWorker, outcome: Outcome
) -> None:
    claim = worker.research()
    worker.call(claim)
    worker.tidy()
    assert used(worker) == 1  # the attempt runs
    worker.end(claim, outcome)
    assert Work.SLOTS in worker.ledger.read(lambda connection: find_work(connection, worker.worker_id, 60))
    worker.tidy()
    assert (used(worker), worker.holds()) == (0, [])
    assert Work.SLOTS not in worker.ledger.read(lambda connection: find_work(connection, worker.worker_id, 60))


@pytest.mark.parametrize("end", ["loss", "cancel"])
def test_the_slot_of_a_call_is_free_after_its_attempt_was_taken_away(worker: HoldingWorker, end: str) -> None:
    claim = worker.research()
    hold = worker.call(claim)
    assert isinstance(hold, uuid.UUID)
    worker.lose() if end == "loss" else cancel(worker, claim.workflow_id)
    worker.tidy()
    assert used(worker) == 0
    other = worker.research() if end == "cancel" else worker.next()
    assert isinstance(worker.call(other), uuid.UUID)
    holds.free(worker.ledger, hold)  # the lost attempt's block ends late
    assert used(worker) == 1


def cancel(worker: HoldingWorker, workflow_id: Any) -> None:
    worker.ledger.write(lambda tx: cancels.cancel(tx, workflow_id, actor="ann", reason="enough"))


def test_an_attempt_that_is_over_takes_no_slot(worker: HoldingWorker) -> None:
    claim = worker.research()
    worker.lose()
    with pytest.raises(StateConflict, match=r"attempt 1 of job .* is over"):
        worker.call(claim)
    assert worker.holds() == []


def test_the_end_of_a_call_admits_a_job_of_the_limit(worker: HoldingWorker) -> None:
    claim = worker.research()
    calls = [worker.call(claim, Meters(slots=SLOTS), SMALL) for _ in range(SLOTS)]
    [job] = worker.begin_all([ask.s()])
    assert worker.job(job).status == BLOCKED
    assert isinstance(calls[0], uuid.UUID)
    holds.free(worker.ledger, calls[0])
    assert (worker.job(job).status, used(worker, SMALL)) == (QUEUED, SLOTS)


def test_a_call_takes_a_free_slot_before_the_jobs_of_the_line(worker: HoldingWorker) -> None:
    claim = worker.research()
    worker.begin_all([ask.s()] * (SLOTS + 1))
    worker.ledger.write(lambda tx: tx.connection.execute(update(LimitRow).values(declared=SLOTS + 1)))
    assert isinstance(worker.call(claim, limit=SMALL), uuid.UUID)
    worker.tidy()
    assert used(worker, SMALL) == SLOTS + 1


def test_a_call_of_a_limit_that_nobody_knows_is_refused(worker: HoldingWorker) -> None:
    claim = worker.research()
    with pytest.raises(KeyError):
        holds.take(worker.ledger, uuid.uuid4(), claim, Wanted("unknown"))


def test_a_job_without_a_slot_for_its_call_stands_in_the_line_and_comes_back_with_one(
    worker: HoldingWorker,
) -> None:
    other = worker.research()
    hold = worker.call(other)
    claim = worker.research()
    assert worker.end(claim, RetryLater(FAILURE, 0.001, burns_attempt=False, needs_slot_of=CALLS))
    waits = worker.job(claim.job_id)
    assert (waits.status, waits.blocked_on, waits.limits, waits.held) == (BLOCKED, CALLS, [CALLS], 0)
    assert (waits.max_attempts, waits.uncounted) == (claim.max_attempts + 1, 1)
    assert isinstance(hold, uuid.UUID)
    holds.free(worker.ledger, hold)
    again = worker.next()
    assert (again.job_id, again.attempt, again.limits) == (claim.job_id, 2, [CALLS])
    worker.end(again)
    assert used(worker) == 0


@pytest.mark.parametrize("further", ["a-before-all", "zoo"])
def test_a_job_with_limits_gives_its_slots_back_before_it_waits_for_another_one(
    worker: HoldingWorker, further: str
) -> None:
    other = worker.research()
    hold = worker.call(other, limit=further)
    both, waits = *worker.begin_all([train.s()]), *worker.begin_all([render.s()])
    claim = worker.next()
    worker.end(claim, RetryLater(FAILURE, 0.001, burns_attempt=False, needs_slot_of=further))
    assert worker.job(both).limits == sorted(["gpu", SMALL, further])
    assert worker.job(waits).status == QUEUED
    assert isinstance(hold, uuid.UUID)
    holds.free(worker.ledger, hold)
    worker.end(worker.next())
    worker.tidy()
    assert worker.next().limits == sorted(["gpu", SMALL, further])


def lost(worker: HoldingWorker, end: str) -> uuid.UUID:
    """Let the attempt at the job of a strict limit be taken from its worker; returns the job."""
    worker.begin_all([solve.s()])
    claim = worker.next()
    if end == "cancel":
        cancel(worker, claim.workflow_id)
    elif end == "deadline":
        worker.age(claim.job_id, deadline_at=1)
        worker.ledger.write(lambda tx: expiry.end_overdue(tx, 10))
    else:
        worker.lose(pause=60 if end == "loss" else 0)
    worker.tidy()
    return claim.job_id


@pytest.mark.parametrize("end", ["loss", "loss-and-at-once", "cancel", "deadline"])
def test_a_lost_attempt_keeps_its_slot_of_a_strict_limit_until_its_code_has_ended(
    worker: HoldingWorker, end: str
) -> None:
    job = lost(worker, end)
    [other] = worker.begin_all([solve.s()])
    [kept] = worker.holds()
    started = worker.job(job).started_at
    assert (kept.name, kept.job_id, kept.attempt) == (LICENCE, job, 1)
    assert (kept.until - started).total_seconds() == pytest.approx(LONG, abs=0.01)
    worker.due()
    worker.tidy()
    assert (worker.job(other).status, used(worker, LICENCE), worker.job(job).held) == (BLOCKED, 1, 0)
    worker.let_time_come()
    worker.tidy()
    assert (worker.job(other).status == QUEUED) or worker.job(job).status == QUEUED
    assert (used(worker, LICENCE), worker.holds()) == (1, [])


def test_a_job_of_a_strict_limit_does_not_begin_again_with_the_slot_of_its_lost_attempt(
    worker: HoldingWorker,
) -> None:
    worker.begin_all([solve.s()])
    claim = worker.next()
    with worker.dying():
        worker.lose()
    worker.age(claim.job_id, due_at=1)
    assert worker.due() == []  # its slot was not given back yet, by a process that died
    worker.tidy()
    assert (worker.job(claim.job_id).held, len(worker.holds())) == (0, 1)


def test_a_worker_that_finds_its_attempt_lost_frees_what_that_keeps(worker: HoldingWorker) -> None:
    job = lost(worker, "loss")
    holds.free_all_of(worker.ledger, job, 1)
    assert (used(worker, LICENCE), worker.holds()) == (0, [])


@pytest.mark.parametrize(
    "outcome", [Succeed("null"), Fail(FAILURE), RetryLater(FAILURE, 60), Cancelled("not wanted")]
)
def test_an_attempt_that_ends_by_itself_keeps_no_slot_of_a_strict_limit(
    worker: HoldingWorker, outcome: Outcome
) -> None:
    worker.begin_all([solve.s()])
    worker.end(worker.next(), outcome)
    worker.tidy()
    assert (used(worker, LICENCE), worker.holds()) == (0, [])


def test_a_lost_attempt_of_two_limits_keeps_the_strict_one_alone(worker: HoldingWorker) -> None:
    worker.begin_all([train.s()])
    worker.ledger.write(
        lambda tx: tx.connection.execute(update(LimitRow).where(LimitRow.name == "gpu").values(is_strict=True))
    )
    claim = worker.next()
    worker.set(claim.job_id, hard_timeout=LONG)
    worker.lose()
    worker.tidy()
    assert [held.name for held in worker.holds()] == ["gpu"]
    assert (used(worker, "gpu"), used(worker, SMALL)) == (1, 0)


def test_the_call_of_a_lost_attempt_keeps_its_slot_of_a_strict_limit_too(worker: HoldingWorker) -> None:
    claim = worker.research()
    worker.call(claim, STRICT)
    worker.lose(pause=60)
    worker.tidy()
    assert used(worker) == 1
    worker.let_time_come()
    worker.tidy()
    assert (used(worker), worker.holds()) == (0, [])


def test_a_call_of_a_strict_limit_needs_a_hard_timeout(worker: HoldingWorker) -> None:
    claim = worker.research()
    worker.set(claim.job_id, hard_timeout=None)
    with pytest.raises(InvalidArguments, match="has no hard timeout"):
        worker.call(claim, STRICT)
    assert worker.holds() == []


def test_a_prune_waits_for_the_end_of_what_a_lost_attempt_keeps(worker: HoldingWorker) -> None:
    job = lost(worker, "cancel")
    workflow_id = worker.job(job).workflow_id

    def prune() -> set[Any]:
        return worker.ledger.write(lambda tx: retention.delete_workflows(tx, [workflow_id], older_than=-1))

    assert prune() == set()
    worker.let_time_come()
    worker.tidy()
    assert prune() == {workflow_id}


def test_a_limit_becomes_strict_with_the_code_of_a_worker_that_starts(worker: HoldingWorker) -> None:
    worker.begin_all([render.s()])
    worker.ledger.write(lambda tx: moves.redeclare(tx, {"gpu": Meters(slots=1, is_strict=True)}, NO_FILE))
    assert worker.limit("gpu").is_strict
