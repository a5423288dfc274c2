"""Calls inside steps pay for their starts and tokens as claims do, and together with them."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import update

from agentq.exceptions import InvalidArguments
from agentq.ledger import holds, limits
from agentq.ledger.audit.audit import audit
from agentq.ledger.holds import Full, Wanted
from agentq.ledger.models import LimitRow
from agentq.outcomes import Cool, RetryLater
from agentq.policies.limits import Meters, PerTime
from tests.support import cooling
from tests.support.fake_worker import FAILURE
from tests.support.holding import HoldingWorker
from tests.support.limited import BLOCKED
from tests.support.paced import BUCKET, GAP, TOKEN_GAP, PacedWorker, call, call_in_bursts

NEAR = 4.0
"""Seconds that a slow machine may take between two statements."""
RATE = Meters(rate=PerTime(7, 60.0, 1))
BURSTS = Meters(rate=PerTime(9, 60.0, 3))
TOKENS = Meters(tokens=PerTime(700, 60.0, BUCKET))
COOLS = Meters(slots=4, has_cooldown=True)


class TimedWorker(HoldingWorker, PacedWorker):
    """A worker whose steps call what has a rate or tokens."""


@pytest.fixture
def worker(ledger_url: str) -> Iterator[TimedWorker]:
    """A worker that gets the messages that the ledger publishes; after the test the ledger is sound."""
    worker = TimedWorker(ledger_url)
    yield worker
    assert worker.ledger.read(audit) == []
    worker.ledger.close()


def about(seconds: float) -> Any:
    return pytest.approx(seconds, abs=NEAR)


def test_a_call_pays_for_its_start_and_the_next_one_finds_when_it_is_due(worker: TimedWorker) -> None:
    claim = worker.research()
    assert isinstance(worker.call(claim, RATE, "calls"), uuid.UUID)
    full = worker.call(claim, RATE, "calls")
    assert isinstance(full, Full)
    assert (full.used, full.slots, full.due_in, full.cools) == (1, None, about(GAP), False)
    assert worker.due_in("calls") == about(GAP)


def test_a_call_takes_a_start_that_is_due_within_its_wait_and_says_when(worker: TimedWorker) -> None:
    claim = worker.research()
    worker.call(claim, RATE, "calls")
    wanted = Wanted("calls", RATE, within=GAP)
    assert holds.take(worker.ledger, uuid.uuid4(), claim, wanted) == about(GAP)
    assert worker.due_in("calls") == about(2 * GAP)
    later = holds.take(worker.ledger, uuid.uuid4(), claim, wanted)
    assert isinstance(later, Full)
    assert worker.due_in("calls") == about(2 * GAP)


def test_a_timed_call_whose_reply_was_lost_finds_its_start_and_pays_once(worker: TimedWorker) -> None:
    claim, hold = worker.research(), uuid.uuid4()
    worker.call(claim, RATE, "calls")
    begins = [holds.take(worker.ledger, hold, claim, Wanted("calls", RATE, within=GAP)) for _ in range(2)]
    assert begins == [about(GAP), about(GAP)]
    assert worker.due_in("calls") == about(2 * GAP)


def test_a_start_that_a_call_took_sends_a_job_with_a_message_back_to_its_line(worker: TimedWorker) -> None:
    claim = worker.research()
    [job] = worker.begin_all([call.s()])
    assert isinstance(worker.call(claim, RATE, "calls"), uuid.UUID)
    assert worker.claim(worker.published.popleft()) is None
    assert (worker.job(job).status, worker.job(job).attempt) == (BLOCKED, 0)
    assert worker.due_in("calls") == about(GAP)


def test_a_start_that_a_claim_paid_is_none_of_a_call(worker: TimedWorker) -> None:
    claim = worker.research()
    worker.begin_all([call.s()])
    assert worker.next().has_paid
    assert isinstance(worker.call(claim, RATE, "calls"), Full)


def test_no_window_has_more_starts_of_claims_and_calls_than_the_rate(worker: TimedWorker) -> None:
    limit, claim = "bursts", worker.research()
    worker.begin_all([call_in_bursts.s()] * 30)
    for message in [*worker.published, *worker.admit_all(limit)]:
        worker.published.append(message)
    starts: list[float] = []

    def now() -> float:
        return worker.passed + time.monotonic()

    for turn in range(30):
        before = worker.limit(limit).rate_due
        found = holds.take(worker.ledger, uuid.uuid4(), claim, Wanted(limit, BURSTS, within=(turn % 4) * GAP))
        if not isinstance(found, Full):
            starts.append(now() + found)
            assert worker.limit(limit).rate_due > before
        claimed = worker.claim(worker.published.popleft()) if worker.published else None
        if claimed is not None:
            starts.append(now() + claimed.begins_in)
        worker.let_pass((turn % 5) * 3.0)
    starts.sort()
    assert len(starts) > 20
    # A moment passes between the start and its note here.
    assert all(later - first > 59.0 for first, later in zip(starts, starts[9:], strict=False))


def test_a_call_reserves_its_tokens_and_its_end_reconciles_them_once(worker: TimedWorker) -> None:
    claim = worker.research()
    hold = worker.call(claim, TOKENS, "spent", tokens=90)
    assert isinstance(hold, uuid.UUID)
    assert worker.due_in("spent", "tokens") == about(90 * TOKEN_GAP)
    assert isinstance(worker.call(claim, TOKENS, "spent", tokens=90), Full)
    for _ in range(2):
        holds.free(worker.ledger, hold, more_tokens=-80)
    assert worker.due_in("spent", "tokens") == about(10 * TOKEN_GAP)


def test_a_call_that_nobody_has_estimated_is_refused_and_takes_nothing(worker: TimedWorker) -> None:
    claim = worker.research()
    with pytest.raises(InvalidArguments, match=r"counts tokens; say how many.*ctx\.limit\('spent', tokens="):
        worker.call(claim, TOKENS, "spent")
    assert worker.holds() == []


def test_a_call_over_the_bucket_goes_when_nothing_is_owed_and_then_owes(worker: TimedWorker) -> None:
    claim = worker.research()
    assert isinstance(worker.call(claim, TOKENS, "spent", tokens=3 * BUCKET), uuid.UUID)
    assert worker.due_in("spent", "tokens") == about(3 * BUCKET * TOKEN_GAP)


def test_a_job_without_a_start_for_its_call_stands_in_the_line_and_pays_with_its_next_claim(
    worker: TimedWorker,
) -> None:
    claim = worker.research()
    worker.call(worker.research(), TOKENS, "spent", tokens=BUCKET)
    waits = RetryLater(FAILURE, 0.001, burns_attempt=False, needs_slot_of="spent", needs_tokens=60)
    assert worker.end(claim, waits)
    row = worker.job(claim.job_id)
    assert (row.status, row.blocked_on, row.tokens, row.pays) == (BLOCKED, "spent", [60], True)
    worker.let_pass(BUCKET * TOKEN_GAP)
    limits.fill(worker.ledger)
    again = worker.next()
    assert (again.job_id, again.has_paid, again.tokens) == (claim.job_id, True, [60])
    assert worker.due_in("spent", "tokens") == about(60 * TOKEN_GAP)


def test_a_further_start_of_a_job_that_has_the_limit_is_paid_and_takes_no_slot(worker: TimedWorker) -> None:
    worker.begin_all([call.s()])
    claim = worker.next()
    found = holds.pay(worker.ledger, claim, Wanted("calls", RATE, within=GAP))
    assert found == about(GAP)
    assert (worker.limit("calls").used, worker.holds()) == (1, [])
    assert worker.due_in("calls") == about(2 * GAP)


def test_the_refusal_of_a_call_closes_its_limit_and_calls_open_it_by_degrees(worker: TimedWorker) -> None:
    claim, limit = worker.research(), "cooling"
    calls = [worker.call(claim, COOLS, limit) for _ in range(2)]
    assert all(isinstance(hold, uuid.UUID) for hold in calls)
    holds.free(worker.ledger, calls[0], cool=Cool((limit,), 30.0, "429"))  # type: ignore[arg-type]  # asserted
    full = worker.call(claim, COOLS, limit)
    assert isinstance(full, Full)
    assert (full.used, full.cools, full.due_in) == (1, True, about(30))
    past = update(LimitRow).where(LimitRow.name == limit).values(cooldown_until=worker.holds()[0].created_at)
    worker.ledger.write(lambda tx: tx.connection.execute(past))
    probe = worker.call(claim, COOLS, limit)
    assert isinstance(probe, uuid.UUID)
    assert isinstance(worker.call(claim, COOLS, limit), Full)  # one beside the one from before
    holds.free(worker.ledger, probe, succeeded=True)
    two = [worker.call(claim, COOLS, limit) for _ in range(3)]
    assert [isinstance(hold, Full) for hold in two] == [False, False, True]


def test_a_refusal_in_the_slot_of_its_job_closes_the_limit_and_the_jobs_success_opens_nothing(
    worker: TimedWorker,
) -> None:
    worker.begin_all([cooling.call.s()] * 2)
    claim, other = worker.next(), worker.next()
    holds.cool(worker.ledger, claim, cooling.API, Cool((cooling.API,), 30, "429"))
    worker.end(claim)
    limit = worker.limit(cooling.API)
    assert (limit.used, limit.carried, limit.ramp, limit.strikes, limit.cooldown_reason) == (1, 1, 1, 1, "429")
    assert cooling.seconds_left(worker) > 25
    worker.end(other)


def test_a_refusal_of_an_attempt_that_is_over_closes_nothing(worker: TimedWorker) -> None:
    worker.begin_all([cooling.call.s()])
    claim = worker.next()
    worker.end(claim)
    holds.cool(worker.ledger, claim, cooling.API, Cool((cooling.API,), 30, "429"))
    assert worker.limit(cooling.API).cooldown_until is None
