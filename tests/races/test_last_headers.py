"""The last headers of a fan-in finish at the same moment: what follows starts, and starts once."""

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
from tests.races.overlap import at_one_moment, players, while_open
from tests.support.faults import Fault, Moment, covers
from tests.support.player import Player, Recorded, recorded
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


def claims(player: Player, canvas: Signature) -> list[Claim]:
    return [player.take(bell) for bell in player.start(canvas).bells]


def check_what_followed(player: Player, held: list[Claim], handed: list[Recorded]) -> None:
    assert all(each.accepted for each in handed)
    bells = [bell for each in handed for bell in each.bells]
    assert len({bell.job_id for bell in bells}) == len(bells), "a job was rung for twice"
    player.run(*bells)
    jobs = player.jobs(held[0].workflow_id)
    assert {job.status for job in jobs} == {JobStatus.SUCCEEDED}
    assert {job.attempt for job in jobs if job.kind == "step"} == {1}
    assert player.workflow(held[0].workflow_id).status == WorkflowStatus.SUCCEEDED


@covers(Fault.CONFLICT, Moment.COMPLETION, Moment.HAND_OVER, Moment.FAN_OUT, Moment.FAN_IN)
@pytest.mark.parametrize("shape", SHAPES)
def test_two_at_one_moment(ledger_url: str, shape: str) -> None:
    with players(ledger_url, 2) as both:
        for _ in range(ROUNDS):
            held = claims(both[0], SHAPES[shape])
            calls = [
                partial(player.succeed, claim, n) for n, (player, claim) in enumerate(zip(both, held, strict=True))
            ]
            check_what_followed(both[0], held, at_one_moment(calls))


@covers(Fault.CONFLICT, Moment.HAND_OVER, Moment.FAN_OUT, Moment.FAN_IN)
@pytest.mark.parametrize("shape", SHAPES)
def test_one_finds_the_transaction_of_the_other_open(ledger_url: str, shape: str) -> None:
    with players(ledger_url, 2) as (one, two):
        for _ in range(3):
            held = claims(one, SHAPES[shape])
            handed = while_open(
                one.ledger,
                lambda tx: recorded(tx, held[0], Succeed("0")),  # noqa: B023
                partial(two.succeed, held[1], 1),
            )
            check_what_followed(one, held, list(handed))


def test_two_a_thousand_times(ledger_url: str) -> None:
    """What follows starts in each of 1,000 rounds, and in none of them twice."""
    with players(ledger_url, 2) as both, ThreadPoolExecutor(2) as pool:
        barrier = Barrier(2)

        def finish(player: Player, held: list[Claim]) -> list[Recorded]:
            return [_at(barrier, partial(player.succeed, claim, 1)) for claim in held]

        rounds = [claims(both[0], SHAPES["fan-in"]) for _ in range(1_000)]
        sides = zip(*rounds, strict=True)
        first, second = pool.map(finish, both, sides)
        for one, two in zip(first, second, strict=True):
            assert one.accepted
            assert two.accepted
            assert len(one.bells + two.bells) == 1


def _at(barrier: Barrier, call: Callable[[], Recorded]) -> Recorded:
    barrier.wait(60)
    return call()


@covers(Fault.CONFLICT, Moment.FAN_IN)
def test_eight_at_one_moment(ledger_url: str) -> None:
    with players(ledger_url, 8) as all_players:
        for _ in range(10):
            held = claims(all_players[0], group(headers(8)) | total.s())
            calls = [
                partial(p.succeed, claim, n) for n, (p, claim) in enumerate(zip(all_players, held, strict=True))
            ]
            handed = at_one_moment(calls)
            (bell,) = [bell for each in handed for bell in each.bells]
            assert json.loads(all_players[0].take(bell).inputs or "") == list(range(8))


@covers(Fault.CONFLICT, Moment.FAN_IN)
def test_the_branches_of_an_each_at_one_moment(ledger_url: str) -> None:
    with players(ledger_url, 4) as four:
        for _ in range(10):
            source = four[0].begin(echo.s() | each(add.s(1)) | total.s())
            held = [four[0].take(bell) for bell in four[0].succeed(source, [0, 1, 2, 3]).bells]
            calls = [partial(player.succeed, claim, 1) for player, claim in zip(four, held, strict=True)]
            check_what_followed(four[0], held, at_one_moment(calls))


@covers(Fault.LOSE_REPLY, Moment.COMPLETION, Moment.HAND_OVER)
def test_the_same_outcome_twice_at_one_moment(ledger_url: str) -> None:
    """A retry after a lost reply may overlap the first try."""
    with players(ledger_url, 2) as both:
        for _ in range(ROUNDS):
            held = both[0].begin(add.s(1, 2) | echo.s())
            handed: list[Any] = at_one_moment([partial(player.succeed, held, 3) for player in both])
            assert [each.accepted for each in handed] == [True, True]
            assert len({bell.job_id for each in handed for bell in each.bells}) == 1
            assert both[0].history(held.job_id) == [(1, "succeeded")]
