"""Parts of a fan-in end, are late, cancelled and replayed at one moment: nothing is stuck, and nothing runs on."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from celery import Signature, group
from sqlalchemy import select

from agentq import each
from agentq.exceptions import StateConflict
from agentq.ledger import attempts, cancels, dead_letters
from agentq.ledger.audit.audit import audit
from agentq.ledger.caretaking import expiry
from agentq.ledger.models import JobRow
from agentq.ledger.records import Claim
from agentq.ledger.transaction import Transaction
from agentq.operations import dead_letters as operations
from agentq.outcomes import Fail, Succeed
from agentq.states import JobStatus, WorkflowStatus
from tests.races.overlap import at_one_moment, players, somebody_waits, while_open
from tests.support import eventually
from tests.support.faults import Fault, Moment, covers
from tests.support.player import FAILURE, Player, recorded
from tests.support.steps import add, numbers, total

ROUNDS = 20
WHO: dict[str, Any] = {"actor": "ann", "reason": "known"}
PAIR = group(add.s(1, 1), add.s(2, 2)) | total.s()


def begin(player: Player, canvas: Signature) -> list[Claim]:
    return [player.take(bell) for bell in player.start(canvas).bells]


def fan_in_of(player: Player, held: Claim) -> Any:
    """The id of the last fan-in of a workflow."""
    return [job.id for job in player.jobs(held.workflow_id) if job.kind == "join"][-1]


def lacking(player: Player) -> list[Claim]:
    """A fan-in that lacks a part in which one of two jobs failed and the other still runs; returns the claims."""
    held = begin(player, group(PAIR, add.s(3, 3)) | total.s().set(needs=2))
    player.fail(held[0])
    player.succeed(held[2], 6)
    return held


def run_to_end(player: Player) -> None:
    while bells := player.due():
        player.run(*bells)


@covers(Fault.CONFLICT, Moment.FAN_IN, Moment.DEAD_LETTER, Moment.REPLAY)
@pytest.mark.parametrize("of", ["part", "fan-in"])
@pytest.mark.parametrize("first", ["replay", "failure"])
def test_a_part_that_fails_beside_a_replay_of_it_is_missing_again_or_runs_again(
    ledger_url: str, of: str, first: str
) -> None:
    with players(ledger_url, 2) as (worker, operator):
        held = lacking(worker)
        dead = held[0].job_id if of == "part" else fan_in_of(worker, held[0])
        if first == "replay":
            while_open(
                operator.ledger,
                lambda tx: dead_letters.replay(tx, dead, **WHO),
                partial(worker.fail, held[1]),
            )
        else:
            while_open(
                worker.ledger,
                lambda tx: attempts.record(tx, held[1], Fail(FAILURE)),
                partial(operator.write, lambda tx: dead_letters.replay(tx, dead, **WHO)),
            )
        while worker.workflow(held[0].workflow_id).status != WorkflowStatus.SUCCEEDED:
            run_to_end(worker)
            assert worker.ledger.read(audit) == [], "it runs, so something moves it"
            for letter in operations.list_(worker.ledger, operations.DeadLetterFilter(), limit=1):
                operations.replay(worker.ledger, str(letter.id))
        assert worker.result(held[0].workflow_id) == 12


@covers(Fault.CONFLICT, Moment.FAN_IN, Moment.FAN_OUT, Moment.CANCEL)
def test_branches_that_grow_as_their_part_is_late_do_not_run_on(ledger_url: str) -> None:
    with players(ledger_url, 2) as (worker, caretaker):
        late = numbers.s(3) | each(add.s(1)) | total.s()
        held = begin(worker, group(late, add.s(3, 3)) | total.s().set(needs=2, within=60))
        worker.succeed(held[1], 6)
        worker.age(fan_in_of(worker, held[0]), deadline_at=1)
        while_open(
            worker.ledger,
            lambda tx: attempts.record(tx, held[0], Succeed("[0,1,2]")),
            partial(caretaker.write, lambda tx: expiry.end_overdue(tx, 10)),
        )
        (grower,) = (job.id for job in worker.jobs(held[0].workflow_id) if job.kind == "each")
        grown = [job.status for job in worker.jobs(held[0].workflow_id) if job.join_id == grower]
        assert grown == [JobStatus.CANCELLED] * 3
        operations.replay(worker.ledger, str(fan_in_of(worker, held[0])))
        run_to_end(worker)
        assert worker.result(held[0].workflow_id) == 12


@covers(Fault.CONFLICT, Moment.FAN_IN, Moment.COMPLETION)
def test_the_last_part_is_done_as_the_time_is_over(ledger_url: str) -> None:
    """It is there or it is late; in both cases the fan-in ends once."""
    with players(ledger_url, 2) as (worker, caretaker):
        for _ in range(ROUNDS):
            held = begin(worker, group(add.s(1, 1), add.s(2, 2)) | total.s().set(needs=2, within=60))
            worker.succeed(held[0], 2)
            join = fan_in_of(worker, held[0])
            worker.age(join, deadline_at=1)
            handed, ended = at_one_moment(
                [
                    partial(worker.succeed, held[1], 4),
                    partial(caretaker.dispatched_by, lambda tx: expiry.end_overdue(tx, 10)),
                ]
            )
            assert ended == []
            if not handed.accepted:
                assert worker.workflow(held[0].workflow_id).status == WorkflowStatus.FAILED
                operations.replay(worker.ledger, str(join))
                run_to_end(worker)
            worker.run(*handed.bells)
            assert worker.result(held[0].workflow_id) == 6


@pytest.mark.parametrize("database", ["postgresql"], indirect=True, scope="session")
def test_who_ends_a_fan_in_and_who_completes_a_part_do_not_wait_for_each_other(ledger_url: str) -> None:
    """Both lock the part first: neither has to be undone."""
    with players(ledger_url, 2) as (worker, caretaker), ThreadPoolExecutor(1) as pool:
        held = begin(worker, group(add.s(1, 1), add.s(2, 2)) | total.s().set(needs=2, within=60))
        worker.succeed(held[0], 2)
        worker.age(fan_in_of(worker, held[0]), deadline_at=1)

        def end_once() -> int:
            with caretaker.ledger.engine.begin() as connection:
                tx = Transaction(connection)
                expiry.end_overdue(tx, 10)
                return len(tx.take_dispatches())

        with worker.ledger.engine.begin() as connection:
            connection.execute(select(JobRow.id).where(JobRow.id == held[1].job_id).with_for_update())
            ended = pool.submit(end_once)
            eventually(lambda: somebody_waits(caretaker.ledger), what="a caretaker that waits for the part")
            handed = recorded(Transaction(connection), held[1], Succeed("4"))
        assert (handed.accepted, ended.result(30)) == (True, 0)
        worker.run(*handed.bells)
        assert worker.result(held[0].workflow_id) == 6


@covers(Fault.CONFLICT, Moment.FAN_IN, Moment.DEAD_LETTER)
def test_the_last_two_parts_fail_at_one_moment(ledger_url: str) -> None:
    with players(ledger_url, 2) as both:
        for _ in range(ROUNDS):
            held = begin(both[0], group(add.s(1, 1), add.s(2, 2)) | total.s().set(needs="any"))
            at_one_moment([partial(player.fail, one) for player, one in zip(both, held, strict=True)])
            of_workflow = operations.DeadLetterFilter(workflow=str(held[0].workflow_id))
            letters = operations.list_(both[0].ledger, of_workflow)
            assert sorted(letter.error_category or "" for letter in letters) == ["error", "error", "missing_parts"]
            operations.replay(both[0].ledger, str(fan_in_of(both[0], held[0])))
            run_to_end(both[0])
            assert both[0].result(held[0].workflow_id) == 6


@covers(Fault.CONFLICT, Moment.FAN_IN, Moment.REPLAY)
@pytest.mark.parametrize("ways", [("replay", "resolve"), ("replay", "cancel"), ("resolve", "cancel")])
def test_of_two_decisions_about_a_fan_in_one_counts(ledger_url: str, ways: tuple[str, str]) -> None:
    with players(ledger_url, 2) as both:
        for _ in range(ROUNDS):
            held = lacking(both[0])
            both[0].succeed(held[1], 4)
            join = fan_in_of(both[0], held[0])
            done = at_one_moment(
                [partial(_decided, way, player, join) for way, player in zip(ways, both, strict=True)]
            )
            assert done.count(True) == 1
            run_to_end(both[0])
            way = ways[done.index(True)]
            if way == "cancel":
                assert both[0].workflow(held[0].workflow_id).status == WorkflowStatus.FAILED
            else:
                assert both[0].result(held[0].workflow_id) == (12 if way == "replay" else 6)


@covers(Fault.CONFLICT, Moment.FAN_IN, Moment.REPLAY)
def test_a_replay_of_a_part_beside_one_of_its_fan_in_runs_it_once(ledger_url: str) -> None:
    with players(ledger_url, 2) as both:
        for _ in range(ROUNDS):
            held = lacking(both[0])
            both[0].succeed(held[1], 4)
            ids = (held[0].job_id, fan_in_of(both[0], held[0]))
            done = at_one_moment(
                [partial(_decided, "replay", player, one) for player, one in zip(both, ids, strict=True)]
            )
            assert done.count(True) == 1
            run_to_end(both[0])
            assert both[0].result(held[0].workflow_id) == 12
            assert both[0].job(held[0].job_id).attempt == 2


@covers(Fault.CONFLICT, Moment.FAN_IN, Moment.REPLAY, Moment.CANCEL)
@pytest.mark.parametrize("first", ["replay", "cancel"])
def test_a_replay_beside_a_cancel_of_the_workflow_leaves_nothing_that_runs(ledger_url: str, first: str) -> None:
    """Of two dead jobs of one part: their fan-in can still go on without it, so the workflow runs."""
    with players(ledger_url, 2) as (one, two):
        held = begin(one, group(PAIR, add.s(3, 3)) | total.s().set(needs="any"))
        one.fail(held[0])
        one.fail(held[1])
        works = {
            "replay": lambda tx: dead_letters.replay(tx, held[0].job_id, **WHO),
            "cancel": lambda tx: cancels.cancel(tx, held[0].workflow_id, **WHO),
        }
        second = works["cancel" if first == "replay" else "replay"]

        def beside() -> bool:
            try:
                return two.ledger.write(second) is not False
            except StateConflict:
                return False

        while_open(one.ledger, works[first], beside)
        jobs = one.jobs(held[0].workflow_id)
        assert [job.status for job in jobs if job.status in ("scheduled", "queued", "waiting", "running")] == []
        assert one.workflow(held[0].workflow_id).status == WorkflowStatus.CANCELLED


def _decided(way: str, player: Player, job_id: Any) -> bool:
    try:
        getattr(operations, way)(player.ledger, str(job_id))
    except StateConflict:
        return False
    return True
