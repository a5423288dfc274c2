"""The start of a job with a rate or tokens is paid by its claim, once, and never comes too early."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select, update

from agentq.ledger import limits, moves
from agentq.ledger.audit.audit import audit
from agentq.ledger.caretaking import due_jobs, rescues
from agentq.ledger.caretaking.work import Work, find_work
from agentq.ledger.db.types import seconds_from_now
from agentq.ledger.models import LimitChangeRow, LimitRow
from agentq.outcomes import Cancelled, Fail, Outcome, RetryLater
from agentq.policies.limits import Meters, PerTime
from agentq.policies.limits_file import NO_FILE
from tests.ledger.test_limits import cancel
from tests.support.fake_worker import FAILURE, decided
from tests.support.limited import BLOCKED, DONE, QUEUED
from tests.support.paced import (
    BUCKET,
    BURST,
    GAP,
    TOKEN_GAP,
    PacedWorker,
    call,
    call_both,
    call_in_bursts,
    hold,
    spend,
)

NEAR = 4.0
"""Seconds that a slow machine may take between two statements."""


@pytest.fixture
def worker(ledger_url: str) -> Iterator[PacedWorker]:
    """A worker that gets the messages that the ledger publishes; after the test the ledger is sound."""
    worker = PacedWorker(ledger_url)
    yield worker
    assert worker.ledger.read(audit) == []
    worker.ledger.close()


def about(seconds: float) -> Any:
    return pytest.approx(seconds, abs=NEAR)


def pace(worker: PacedWorker, limit: str, pacer: uuid.UUID | None = None) -> tuple[int, float] | None:
    return limits.pace(worker.ledger, limit, pacer or worker.worker_id)


def test_a_start_that_is_due_is_paid_by_the_claim(worker: PacedWorker) -> None:
    worker.begin_all([call.s()])
    assert worker.limit("calls").outstanding == 1
    claimed = worker.next()
    assert (claimed.has_paid, claimed.begins_in, claimed.attempt) == (True, 0, 1)
    assert worker.due_in("calls") == about(GAP)
    assert (worker.limit("calls").used, worker.limit("calls").outstanding) == (1, 0)
    worker.end(claimed)
    assert worker.limit("calls").used == 0


def test_no_more_jobs_have_a_message_than_can_start_soon(worker: PacedWorker) -> None:
    jobs = worker.begin_all([call.s()] * 3)
    assert worker.statuses(jobs) == [QUEUED, BLOCKED, BLOCKED]
    assert worker.queued() == jobs[:1]
    worker.end(worker.next())
    assert worker.statuses(jobs[1:]) == [BLOCKED, BLOCKED]
    worker.let_pass(GAP)
    assert pace(worker, "calls") == (1, about(GAP))
    assert worker.statuses(jobs[1:]) == [QUEUED, BLOCKED]


def test_a_burst_starts_at_once_and_counts_within_the_rate(worker: PacedWorker) -> None:
    jobs = worker.begin_all([call_in_bursts.s()] * (BURST + 2))
    assert worker.queued() == jobs[:BURST]
    for _ in range(BURST):
        assert worker.next().begins_in == 0
    assert worker.due_in("bursts") == about(BURST * GAP)


def test_a_claim_a_little_early_waits_in_place(worker: PacedWorker) -> None:
    worker.begin_all([call.s()])
    worker.set_due("calls", 0.09)
    claimed = worker.claim(worker.published[0])
    if claimed is None:
        pytest.skip("the machine was slower than the start")
    assert 0 < claimed.begins_in <= 0.09
    assert worker.due_in("calls") == about(GAP)


def test_a_claim_that_is_too_early_goes_back_to_its_line_at_no_cost(worker: PacedWorker) -> None:
    [job] = worker.begin_all([call.s()])
    worker.set_due("calls", 30)
    assert worker.claim(worker.published.popleft()) is None
    row, limit = worker.job(job), worker.limit("calls")
    assert (row.status, row.blocked_on, row.attempt, row.held, row.worker_id) == (BLOCKED, "calls", 0, 0, None)
    assert (limit.used, limit.outstanding, limit.is_awaited) == (0, 0, True)
    assert worker.due_in("calls") == about(30)
    worker.let_pass(30)
    assert pace(worker, "calls") == (1, about(GAP))
    assert worker.next().job_id == job


def test_a_job_of_two_rates_pays_both_or_none(worker: PacedWorker) -> None:
    [job] = worker.begin_all([call_both.s()])
    worker.set_due("slow", 30)
    assert worker.claim(worker.published.popleft()) is None
    assert worker.job(job).blocked_on == "slow"
    assert worker.due_in("calls") < 0
    worker.let_pass(30)
    limits.fill(worker.ledger)
    worker.next()
    assert (worker.due_in("calls"), worker.due_in("slow")) == (about(GAP), about(60))


def test_a_claim_whose_reply_was_lost_finds_itself_and_pays_once(worker: PacedWorker) -> None:
    worker.begin_all([call.s()])
    message = worker.published.popleft()
    first, again = worker.claim(message, token=7), worker.claim(message, token=7)
    assert first is not None
    assert again is not None
    assert (again.attempt, again.started_at) == (1, first.started_at)
    assert worker.due_in("calls") == about(GAP)


@pytest.mark.parametrize("pays", [True, False])
def test_a_message_has_no_authority_over_the_price(worker: PacedWorker, pays: bool) -> None:
    worker.begin_all([call.s()])
    message = replace(worker.published.popleft(), pays=pays)
    assert (worker.claim(message) is not None) is pays


def test_the_message_of_a_job_that_stands_in_its_line_again_claims_nothing(worker: PacedWorker) -> None:
    worker.begin_all([call.s()])
    message = worker.published.popleft()
    worker.set_due("calls", 30)
    assert worker.claim(message) is None
    worker.let_pass(60)
    assert worker.claim(message) is None
    assert worker.due_in("calls") < 0


@pytest.mark.parametrize("delay", [0, 60])
def test_an_attempt_that_is_tried_again_pays_again(worker: PacedWorker, delay: float) -> None:
    [job] = worker.begin_all([call.s()])
    worker.end(worker.next(), RetryLater(FAILURE, delay))
    worker.let_pass(GAP)
    worker.age(job, due_at=1)
    worker.ledger.write(lambda tx: due_jobs.dispatch_due(tx, 10))
    limits.fill(worker.ledger)
    assert worker.next().attempt == 2
    assert worker.due_in("calls") == about(GAP)


def test_the_job_of_a_lost_worker_pays_for_its_next_attempt(worker: PacedWorker) -> None:
    worker.begin_all([call.s()])
    worker.next()
    worker.renew(-1)
    worker.ledger.write(lambda tx: rescues.rescue_lost(tx, decided(0), 10))
    message = worker.published.popleft()
    assert message.pays
    assert worker.claim(message) is None
    assert worker.limit("calls").used == 0


def test_the_cancel_of_a_job_with_a_message_makes_room_for_another(worker: PacedWorker) -> None:
    first, second = worker.begin_all([call.s()] * 2)
    cancel(worker, first)
    limits.fill(worker.ledger)
    assert worker.statuses([second]) == [QUEUED]
    assert worker.limit("calls").outstanding == 1


def test_slots_and_a_rate_of_one_name_hold_both(worker: PacedWorker) -> None:
    jobs = worker.begin_all([hold.s()] * 7)
    assert worker.queued() == jobs[:2]
    claimed = [worker.next() for _ in range(2)]
    worker.end(claimed[0])
    assert worker.queued() == jobs[2:3]
    for _ in range(3):
        worker.end(worker.next())
    assert worker.statuses(jobs[5:]) == [BLOCKED, BLOCKED]
    assert (worker.limit("held").used, pace(worker, "held")) == (1, (0, about(GAP)))


def test_one_caretaker_at_a_time_paces_a_limit(worker: PacedWorker) -> None:
    worker.begin_all([call.s()] * 2)
    other = uuid.uuid4()
    assert pace(worker, "calls") == (0, about(GAP))
    assert pace(worker, "calls", other) is None
    assert pace(worker, "calls") is not None
    worker.ledger.write(
        lambda tx: tx.connection.execute(update(LimitRow).values(paced_until=seconds_from_now(-1)))
    )
    assert pace(worker, "calls", other) is not None
    assert pace(worker, "calls") is None


@pytest.mark.parametrize("room", [2, BURST])
def test_starts_that_are_due_together_are_of_as_many_tenants(worker: PacedWorker, room: int) -> None:
    worker.begin_all([call_in_bursts.s()] * BURST)
    for _ in range(BURST):
        worker.next()
    for tenant in ("ant", "bee", "cow"):
        worker.begin_all([call_in_bursts.s()] * BURST, tenant=tenant)
    worker.let_pass(room * GAP)
    pace(worker, "bursts")
    assert len(worker.published) == room
    assert len({message.tenant for message in worker.published}) == room


@pytest.mark.parametrize("database", ["postgresql"], indirect=True, scope="session")  # SQLite has one writer
@pytest.mark.parametrize(("pause", "ready"), [(1.0, QUEUED), (0.0, BLOCKED)], ids=["later", "soon"])
def test_a_completion_leaves_the_next_job_to_a_pacer_that_looks_soon(
    worker: PacedWorker, pause: float, ready: str
) -> None:
    jobs = worker.begin_all([call.s()] * 2)
    claimed = worker.next()
    worker.let_pass(GAP + NEAR)
    worker.ledger.write(lambda tx: moves.take_pace(tx, "calls", worker.worker_id))
    worker.ledger.write(lambda tx: moves.keep_pace(tx, "calls", worker.worker_id, pause))
    worker.end(claimed)
    assert worker.statuses(jobs[1:]) == [ready]


def test_a_limit_whose_jobs_wait_for_a_time_is_found_until_a_caretaker_paces_it(worker: PacedWorker) -> None:
    def found() -> bool:
        return Work.PACE in worker.ledger.read_statement(lambda c: find_work(c, worker.worker_id, 60.0))

    assert not found()
    worker.begin_all([call.s()] * 2)
    assert found()
    pace(worker, "calls")
    assert not found()
    for _ in range(2):
        worker.end(worker.next())
        worker.let_pass(2 * GAP)
        limits.fill(worker.ledger)
    assert pace(worker, "calls") is None
    assert not found()


def test_a_rate_that_code_declares_anew_holds_for_each_key(worker: PacedWorker) -> None:
    worker.begin_all([call.s()] * 2)
    worker.end(worker.next())
    worker.ledger.write(lambda tx: moves.redeclare(tx, {"calls": Meters(rate=PerTime(2, 60.0, 1))}, NO_FILE))
    assert worker.limit("calls").rate == 2
    worker.let_pass(GAP)
    pace(worker, "calls")
    worker.next()
    assert worker.due_in("calls") == about(60)


def test_the_rate_of_an_operator_holds_in_place_of_the_declared_one(worker: PacedWorker) -> None:
    worker.begin_all([call.s()])
    override = {"override_rate": 2, "override_rate_per": 60.0, "actor": "ann", "reason": "less"}
    worker.ledger.write(lambda tx: tx.connection.execute(update(LimitRow).values(override)))
    worker.next()
    assert worker.due_in("calls") == about(60)


def test_an_attempt_reserves_its_estimate(worker: PacedWorker) -> None:
    worker.begin_all([spend.s(tokens=70), spend.s(tokens=40)])
    claimed = worker.next()
    assert claimed.tokens == [70]
    assert worker.due_in("spent", "tokens") == about(70 * TOKEN_GAP)
    assert len(worker.published) == 0


def test_the_tokens_of_jobs_with_a_message_are_taken_already(worker: PacedWorker) -> None:
    jobs = worker.begin_all([spend.s(tokens=40)] * 3)
    assert worker.queued() == jobs[:2]
    assert worker.limit("spent").outstanding_tokens == 80


@pytest.mark.parametrize(
    "outcome",
    [DONE, Fail(FAILURE), RetryLater(FAILURE, 60), Cancelled("not wanted")],
    ids=["success", "failure", "pause", "cancel"],
)
@pytest.mark.parametrize("used", [None, 10, 90, {"spent": 10}])
def test_the_tokens_that_were_used_count_whatever_becomes_of_the_attempt(
    worker: PacedWorker, outcome: Outcome, used: Any
) -> None:
    worker.begin_all([spend.s(tokens=50)])
    claimed = worker.next()
    assert worker.end(claimed, outcome, used)
    told = used["spent"] if isinstance(used, dict) else used
    assert worker.due_in("spent", "tokens") == about(TOKEN_GAP * (50 if told is None else told))


def test_an_attempt_that_lost_its_job_gives_no_tokens_back(worker: PacedWorker) -> None:
    worker.begin_all([spend.s(tokens=100)])
    claimed = worker.next()
    worker.renew(-1)
    worker.ledger.write(lambda tx: rescues.rescue_lost(tx, decided(60), 10))
    for outcome in (DONE, Fail(FAILURE)):
        assert not worker.end(claimed, outcome, 0)
    assert worker.due_in("spent", "tokens") == about(100 * TOKEN_GAP)


def test_an_outcome_whose_reply_was_lost_counts_its_tokens_once(worker: PacedWorker) -> None:
    worker.begin_all([spend.s(tokens=100)])
    claimed = worker.next()
    assert worker.end(claimed, DONE, 0)
    assert worker.end(claimed, DONE, 0)
    assert worker.due_in("spent", "tokens") == about(0)


def test_an_estimate_over_the_bucket_goes_when_nothing_is_owed_and_then_owes(worker: PacedWorker) -> None:
    jobs = worker.begin_all([spend.s(tokens=20), spend.s(tokens=3 * BUCKET), spend.s(tokens=10)])
    worker.end(worker.next())
    assert worker.statuses(jobs[1:]) == [BLOCKED, BLOCKED]
    worker.let_pass(20 * TOKEN_GAP)
    limits.fill(worker.ledger)
    assert worker.queued() == jobs[1:2]
    assert worker.next().begins_in == 0
    assert worker.due_in("spent", "tokens") == about(3 * BUCKET * TOKEN_GAP)
    limits.fill(worker.ledger)
    assert worker.statuses(jobs[2:]) == [BLOCKED]


def test_a_limit_says_which_meter_the_first_job_of_its_line_waits_for(worker: PacedWorker) -> None:
    worker.begin_all([call.s()] * 2 + [hold.s()] * 3 + [spend.s(tokens=BUCKET)] * 2)
    for _ in range(len(worker.published)):
        worker.next()
    calls, held, spent = (opening(worker, limit) for limit in ("calls", "held", "spent"))
    assert (calls.rate, calls.tokens, calls.free) == (about(GAP), 0, None)
    assert (held.free, held.seconds) == (0, 0)
    assert (spent.tokens, spent.rate) == (about(BUCKET * TOKEN_GAP), 0)
    worker.let_pass(BUCKET * TOKEN_GAP)
    assert opening(worker, "calls").seconds == 0


def opening(worker: PacedWorker, limit: str) -> moves.Opening:
    """When the first job in the line of a limit can start."""
    found = worker.ledger.read(lambda connection: moves.opening(connection, limit))
    assert found is not None
    return found


def test_a_rate_that_a_later_step_gives_a_limit_is_noted_as_a_change(worker: PacedWorker) -> None:
    def declare(meters: Meters) -> None:
        worker.ledger.write(lambda tx: moves.declare(tx, {"shared": meters}))

    declare(Meters(slots=3))
    for _ in range(2):
        declare(Meters(rate=PerTime(500, 60.0, 1)))
    changed = select(LimitChangeRow.before, LimitChangeRow.after, LimitChangeRow.rate_before).add_columns(
        LimitChangeRow.rate_after
    )
    rows = worker.ledger.read(lambda connection: connection.execute(changed).all())
    assert [tuple(row) for row in rows] == [(3, 3, None, "500/60")]
    assert (worker.limit("shared").declared, worker.limit("shared").rate) == (3, 500)
