"""Members of a fan-in end, are late, cancelled and replayed concurrently: none is stuck or runs on."""

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
from tests.races.overlap import a_session_waits, concurrently, fakes, while_open
from tests.support import eventually
from tests.support.fake_worker import FAILURE, FakeWorker, record
from tests.support.faults import Fault, Phase, covers
from tests.support.steps import add, numbers, total

ROUNDS = 20
WHO: dict[str, Any] = {"actor": "ann", "reason": "known"}
PAIR = group(add.s(1, 1), add.s(2, 2)) | total.s()


def begin(fake: FakeWorker, canvas: Signature) -> list[Claim]:
    return [fake.take(dispatch) for dispatch in fake.start(canvas).dispatches]


def fan_in_of(fake: FakeWorker, claimed: Claim) -> Any:
    """The id of the last fan-in of a workflow."""
    return [job.id for job in fake.jobs(claimed.workflow_id) if job.kind == "join"][-1]


def lacking(fake: FakeWorker) -> list[Claim]:
    """A fan-in that lacks a part in which one of two jobs failed and the other still runs; returns the claims."""
    claimed = begin(fake, group(PAIR, add.s(3, 3)) | total.s().set(needs=2))
    fake.fail(claimed[0])
    fake.succeed(claimed[2], 6)
    return claimed


def run_to_end(fake: FakeWorker) -> None:
    while dispatches := fake.due():
        fake.run(*dispatches)


@covers(Fault.CONFLICT, Phase.FAN_IN, Phase.DEAD_LETTER, Phase.REPLAY)
@pytest.mark.parametrize("of", ["part", "fan-in"])
@pytest.mark.parametrize("first", ["replay", "failure"])
def test_a_member_that_fails_beside_its_replay_is_missing_or_runs_again(
    ledger_url: str, of: str, first: str
) -> None:
    with fakes(ledger_url, 2) as (worker, operator):
        claimed = lacking(worker)
        dead = claimed[0].job_id if of == "part" else fan_in_of(worker, claimed[0])
        if first == "replay":
            while_open(
                operator.ledger,
                lambda tx: dead_letters.replay(tx, dead, **WHO),
                partial(worker.fail, claimed[1]),
            )
        else:
            while_open(
                worker.ledger,
                lambda tx: attempts.record(tx, claimed[1], Fail(FAILURE)),
                partial(operator.write, lambda tx: dead_letters.replay(tx, dead, **WHO)),
            )
        while worker.workflow(claimed[0].workflow_id).status != WorkflowStatus.SUCCEEDED:
            run_to_end(worker)
            assert worker.ledger.read(audit) == [], "it runs, so something moves it"
            for letter in operations.list_(worker.ledger, operations.DeadLetterFilter(), limit=1):
                operations.replay(worker.ledger, str(letter.id))
        assert worker.result(claimed[0].workflow_id) == 12


@covers(Fault.CONFLICT, Phase.FAN_IN, Phase.FAN_OUT, Phase.CANCEL)
def test_branches_expanded_past_the_deadline_do_not_run(ledger_url: str) -> None:
    with fakes(ledger_url, 2) as (worker, caretaker):
        late = numbers.s(3) | each(add.s(1)) | total.s()
        claimed = begin(worker, group(late, add.s(3, 3)) | total.s().set(needs=2, within=60))
        worker.succeed(claimed[1], 6)
        worker.age(fan_in_of(worker, claimed[0]), deadline_at=1)
        while_open(
            worker.ledger,
            lambda tx: attempts.record(tx, claimed[0], Succeed("[0,1,2]")),
            partial(caretaker.write, lambda tx: expiry.end_overdue(tx, 10)),
        )
        (expander,) = (job.id for job in worker.jobs(claimed[0].workflow_id) if job.kind == "each")
        expanded = [job.status for job in worker.jobs(claimed[0].workflow_id) if job.join_id == expander]
        assert expanded == [JobStatus.CANCELLED] * 3
        operations.replay(worker.ledger, str(fan_in_of(worker, claimed[0])))
        run_to_end(worker)
        assert worker.result(claimed[0].workflow_id) == 12


@covers(Fault.CONFLICT, Phase.FAN_OUT, Phase.CANCEL)
def test_branches_expanded_beside_the_cancel_of_their_member_do_not_run(ledger_url: str) -> None:
    with fakes(ledger_url, 2) as (worker, other):
        member = numbers.s(3) | each(add.s(1)) | total.s()
        claimed = begin(worker, group(member, add.s(3, 3)) | total.s().set(needs=1))
        jobs = worker.jobs(claimed[0].workflow_id)
        (last,) = (job.id for job in jobs if job.step == total.name and job.part_id is not None)
        while_open(
            worker.ledger,
            lambda tx: attempts.record(tx, claimed[0], Succeed("[0,1,2]")),
            partial(other.write, lambda tx: cancels.cancel_job(tx, last, actor="ann", reason="enough")),
        )
        (expander,) = (job.id for job in jobs if job.kind == "each")
        expanded = [job.status for job in worker.jobs(claimed[0].workflow_id) if job.join_id == expander]
        assert expanded == [JobStatus.CANCELLED] * 3


@covers(Fault.CONFLICT, Phase.FAN_IN, Phase.COMPLETION)
def test_the_last_member_ends_beside_the_deadline(ledger_url: str) -> None:
    """It is there or it is late; in both cases the fan-in ends once."""
    with fakes(ledger_url, 2) as (worker, caretaker):
        for _ in range(ROUNDS):
            claimed = begin(worker, group(add.s(1, 1), add.s(2, 2)) | total.s().set(needs=2, within=60))
            worker.succeed(claimed[0], 2)
            join = fan_in_of(worker, claimed[0])
            worker.age(join, deadline_at=1)
            recorded, ended = concurrently(
                [
                    partial(worker.succeed, claimed[1], 4),
                    partial(caretaker.dispatched_by, lambda tx: expiry.end_overdue(tx, 10)),
                ]
            )
            assert ended == []
            if not recorded.accepted:
                assert worker.workflow(claimed[0].workflow_id).status == WorkflowStatus.FAILED
                operations.replay(worker.ledger, str(join))
                run_to_end(worker)
            worker.run(*recorded.dispatches)
            assert worker.result(claimed[0].workflow_id) == 6


@pytest.mark.parametrize("database", ["postgresql"], indirect=True, scope="session")
def test_a_fan_ins_end_and_a_members_completion_do_not_deadlock(ledger_url: str) -> None:
    """Both lock the member first: neither has to be undone."""
    with fakes(ledger_url, 2) as (worker, caretaker), ThreadPoolExecutor(1) as pool:
        claimed = begin(worker, group(add.s(1, 1), add.s(2, 2)) | total.s().set(needs=2, within=60))
        worker.succeed(claimed[0], 2)
        worker.age(fan_in_of(worker, claimed[0]), deadline_at=1)

        def end_once() -> int:
            with caretaker.ledger.engine.begin() as connection:
                tx = Transaction(connection)
                expiry.end_overdue(tx, 10)
                return len(tx.take_dispatches())

        with worker.ledger.engine.begin() as connection:
            connection.execute(select(JobRow.id).where(JobRow.id == claimed[1].job_id).with_for_update())
            ended = pool.submit(end_once)
            eventually(lambda: a_session_waits(caretaker.ledger), what="a caretaker that waits for the member")
            outcome = record(Transaction(connection), claimed[1], Succeed("4"))
        assert (outcome.accepted, ended.result(30)) == (True, 0)
        worker.run(*outcome.dispatches)
        assert worker.result(claimed[0].workflow_id) == 6


@covers(Fault.CONFLICT, Phase.FAN_IN, Phase.DEAD_LETTER)
def test_the_last_two_members_fail_concurrently(ledger_url: str) -> None:
    with fakes(ledger_url, 2) as both:
        for _ in range(ROUNDS):
            claimed = begin(both[0], group(add.s(1, 1), add.s(2, 2)) | total.s().set(needs="any"))
            concurrently([partial(fake.fail, one) for fake, one in zip(both, claimed, strict=True)])
            of_workflow = operations.DeadLetterFilter(workflow=str(claimed[0].workflow_id))
            letters = operations.list_(both[0].ledger, of_workflow)
            assert sorted(letter.error_category or "" for letter in letters) == [
                "error",
                "error",
                "missing_members",
            ]
            operations.replay(both[0].ledger, str(fan_in_of(both[0], claimed[0])))
            run_to_end(both[0])
            assert both[0].result(claimed[0].workflow_id) == 6


@covers(Fault.CONFLICT, Phase.FAN_IN, Phase.REPLAY)
@pytest.mark.parametrize("ways", [("replay", "resolve"), ("replay", "cancel"), ("resolve", "cancel")])
def test_one_of_two_decisions_on_a_fan_in_counts(ledger_url: str, ways: tuple[str, str]) -> None:
    with fakes(ledger_url, 2) as both:
        for _ in range(ROUNDS):
            claimed = lacking(both[0])
            both[0].succeed(claimed[1], 4)
            join = fan_in_of(both[0], claimed[0])
            done = concurrently([partial(_decided, way, fake, join) for way, fake in zip(ways, both, strict=True)])
            assert done.count(True) == 1
            run_to_end(both[0])
            way = ways[done.index(True)]
            if way == "cancel":
                assert both[0].workflow(claimed[0].workflow_id).status == WorkflowStatus.FAILED
            else:
                assert both[0].result(claimed[0].workflow_id) == (12 if way == "replay" else 6)


@covers(Fault.CONFLICT, Phase.FAN_IN, Phase.REPLAY)
def test_a_replay_of_a_member_beside_one_of_its_fan_in_runs_it_once(ledger_url: str) -> None:
    with fakes(ledger_url, 2) as both:
        for _ in range(ROUNDS):
            claimed = lacking(both[0])
            both[0].succeed(claimed[1], 4)
            ids = (claimed[0].job_id, fan_in_of(both[0], claimed[0]))
            done = concurrently(
                [partial(_decided, "replay", fake, one) for fake, one in zip(both, ids, strict=True)]
            )
            assert done.count(True) == 1
            run_to_end(both[0])
            assert both[0].result(claimed[0].workflow_id) == 12
            assert both[0].job(claimed[0].job_id).attempt == 2


@covers(Fault.CONFLICT, Phase.FAN_IN, Phase.REPLAY, Phase.CANCEL)
@pytest.mark.parametrize("first", ["replay", "cancel"])
def test_a_replay_beside_a_cancel_of_the_workflow_leaves_nothing_that_runs(ledger_url: str, first: str) -> None:
    """Of two dead jobs of one part: their fan-in can still go on without it, so the workflow runs."""
    with fakes(ledger_url, 2) as (one, two):
        claimed = begin(one, group(PAIR, add.s(3, 3)) | total.s().set(needs="any"))
        one.fail(claimed[0])
        one.fail(claimed[1])
        works = {
            "replay": lambda tx: dead_letters.replay(tx, claimed[0].job_id, **WHO),
            "cancel": lambda tx: cancels.cancel(tx, claimed[0].workflow_id, **WHO),
        }
        second = works["cancel" if first == "replay" else "replay"]

        def beside() -> bool:
            try:
                return two.ledger.write(second) is not False
            except StateConflict:
                return False

        while_open(one.ledger, works[first], beside)
        jobs = one.jobs(claimed[0].workflow_id)
        assert [job.status for job in jobs if job.status in ("scheduled", "queued", "waiting", "running")] == []
        assert one.workflow(claimed[0].workflow_id).status == WorkflowStatus.CANCELLED


def _decided(way: str, fake: FakeWorker, job_id: Any) -> bool:
    try:
        getattr(operations, way)(fake.ledger, str(job_id))
    except StateConflict:
        return False
    return True
