"""The last headers of a fan-in finish at the same time: what follows starts, and starts once."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Barrier
from typing import Any

import pytest
from celery import Signature, group

from agentq import each
from agentq.ledger.records import Claim
from agentq.outcomes import Succeed
from agentq.states import JobStatus, WorkflowStatus
from tests.races.overlap import concurrently, fakes, while_open
from tests.support.fake_worker import FakeWorker, Recorded, record
from tests.support.faults import Fault, Phase, covers
from tests.support.steps import add, echo, total

ROUNDS = 40


def headers(count: int) -> list[Signature]:
    return [add.s(number, 0) for number in range(count)]


SHAPES: dict[str, Signature] = {
    "fan-in": group(headers(2)) | total.s(),
    "fan-out": group(headers(2)) | group(total.s(), echo.s()),
    "last group": group(headers(2)),
    "fan-in of a fan-in": group([group(headers(2)) | group(total.s(), total.s())]) | echo.s(),
    "each": group(headers(2)) | each(add.s(1)) | total.s(),
    "chains": group(add.s(0, 0) | add.s(0), add.s(1, 0) | add.s(0)) | total.s(),
}


def claims(fake: FakeWorker, canvas: Signature) -> list[Claim]:
    return [fake.take(dispatch) for dispatch in fake.start(canvas).dispatches]


def check_what_followed(fake: FakeWorker, claimed: list[Claim], recorded: list[Recorded]) -> None:
    assert all(each.accepted for each in recorded)
    dispatches = [dispatch for each in recorded for dispatch in each.dispatches]
    assert len({dispatch.job_id for dispatch in dispatches}) == len(dispatches), "a job was dispatched twice"
    fake.run(*dispatches)
    jobs = fake.jobs(claimed[0].workflow_id)
    assert {job.status for job in jobs} == {JobStatus.SUCCEEDED}
    assert {job.attempt for job in jobs if job.kind == "step"} == {1}
    assert fake.workflow(claimed[0].workflow_id).status == WorkflowStatus.SUCCEEDED


@covers(Fault.CONFLICT, Phase.COMPLETION, Phase.HAND_OVER, Phase.FAN_OUT, Phase.FAN_IN)
@pytest.mark.parametrize("shape", SHAPES)
def test_two_last_members_concurrently_end_the_join_once(ledger_url: str, shape: str) -> None:
    with fakes(ledger_url, 2) as both:
        for _ in range(ROUNDS):
            claimed = claims(both[0], SHAPES[shape])
            calls = [
                partial(fake.succeed, claim, n) for n, (fake, claim) in enumerate(zip(both, claimed, strict=True))
            ]
            check_what_followed(both[0], claimed, concurrently(calls))


@covers(Fault.CONFLICT, Phase.HAND_OVER, Phase.FAN_OUT, Phase.FAN_IN)
@pytest.mark.parametrize("shape", SHAPES)
def test_one_finds_the_transaction_of_the_other_open(ledger_url: str, shape: str) -> None:
    with fakes(ledger_url, 2) as (one, two):
        for _ in range(3):
            claimed = claims(one, SHAPES[shape])
            recorded = while_open(
                one.ledger,
                lambda tx: record(tx, claimed[0], Succeed("0")),  # noqa: B023
                partial(two.succeed, claimed[1], 1),
            )
            check_what_followed(one, claimed, list(recorded))


@pytest.mark.long
def test_two_a_thousand_times(ledger_url: str) -> None:
    """The jobs after it start in each of 1,000 rounds, and in none of them twice."""
    with fakes(ledger_url, 2) as both, ThreadPoolExecutor(2) as pool:
        barrier = Barrier(2)

        def finish(fake: FakeWorker, claimed: list[Claim]) -> list[Recorded]:
            return [_at(barrier, partial(fake.succeed, claim, 1)) for claim in claimed]

        rounds = [claims(both[0], SHAPES["fan-in"]) for _ in range(1_000)]
        sides = zip(*rounds, strict=True)
        first, second = pool.map(finish, both, sides)
        for one, two in zip(first, second, strict=True):
            assert one.accepted
            assert two.accepted
            assert len(one.dispatches + two.dispatches) == 1


def _at(barrier: Barrier, call: Callable[[], Recorded]) -> Recorded:
    barrier.wait(60)
    return call()


@covers(Fault.CONFLICT, Phase.FAN_IN)
def test_eight_last_members_concurrently_end_the_join_once(ledger_url: str) -> None:
    with fakes(ledger_url, 8) as all_fakes:
        for _ in range(10):
            claimed = claims(all_fakes[0], group(headers(8)) | total.s())
            calls = [
                partial(p.succeed, claim, n) for n, (p, claim) in enumerate(zip(all_fakes, claimed, strict=True))
            ]
            recorded = concurrently(calls)
            (dispatch,) = [dispatch for each in recorded for dispatch in each.dispatches]
            assert json.loads(all_fakes[0].take(dispatch).inputs or "") == list(range(8))


@covers(Fault.CONFLICT, Phase.FAN_IN)
def test_the_branches_of_an_each_concurrently_end_it_once(ledger_url: str) -> None:
    with fakes(ledger_url, 4) as four:
        for _ in range(10):
            source = four[0].begin(echo.s() | each(add.s(1)) | total.s())
            claimed = [four[0].take(dispatch) for dispatch in four[0].succeed(source, [0, 1, 2, 3]).dispatches]
            calls = [partial(fake.succeed, claim, 1) for fake, claim in zip(four, claimed, strict=True)]
            check_what_followed(four[0], claimed, concurrently(calls))


@covers(Fault.LOSE_REPLY, Phase.COMPLETION, Phase.HAND_OVER)
def test_the_same_outcome_twice_concurrently_counts_once(ledger_url: str) -> None:
    """A retry after a lost reply may overlap the first try."""
    with fakes(ledger_url, 2) as both:
        for _ in range(ROUNDS):
            claimed = both[0].begin(add.s(1, 2) | echo.s())
            recorded: list[Any] = concurrently([partial(fake.succeed, claimed, 3) for fake in both])
            assert [each.accepted for each in recorded] == [True, True]
            assert len({dispatch.job_id for each in recorded for dispatch in each.dispatches}) == 1
            assert both[0].history(claimed.job_id) == [(1, "succeeded")]
