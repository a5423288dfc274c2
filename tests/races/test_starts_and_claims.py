"""Two who want the same: one key, one job, one due time."""

from __future__ import annotations

from functools import partial

import pytest
from celery import group

from agentq import each, sleep
from agentq.exceptions import KeyConflict
from agentq.ledger.caretaking import due_jobs, rescues
from agentq.ledger.records import Dispatch
from agentq.ledger.transaction import Transaction
from agentq.states import JobKind, WorkflowStatus
from tests.races.overlap import concurrently, fakes, while_open
from tests.support.fake_worker import FakeWorker, Started, decided, graph_of, started
from tests.support.faults import Fault, Phase, covers
from tests.support.steps import add, echo, numbers

ROUNDS = 40


@covers(Fault.CONFLICT, Phase.START)
def test_concurrent_starts_with_one_key_are_one_workflow(ledger_url: str) -> None:
    with fakes(ledger_url, 3) as three:
        for number in range(ROUNDS):
            canvas = add.s(1, 2) | echo.s()
            starts = concurrently([partial(fake.start, canvas, key=f"k{number}") for fake in three])
            assert sorted(one.is_new for one in starts) == [False, False, True]
            (workflow_id,) = {one.workflow_id for one in starts}
            assert len(three[0].jobs(workflow_id)) == 2
            assert sum(len(one.dispatches) for one in starts) == 1


def start(fake: FakeWorker, x: int) -> Started:
    return fake.start(add.s(x, 0), key="k")


@covers(Fault.CONFLICT, Phase.START)
@pytest.mark.parametrize("commit", [True, False], ids=["commit", "rollback"])
def test_a_start_waits_for_the_start_of_the_same_key(ledger_url: str, commit: bool) -> None:
    with fakes(ledger_url, 2) as (one, two):
        graph = graph_of(add.s(1, 0))
        first, second = while_open(
            one.ledger,
            lambda tx: started(tx, graph, tenant="acme", key="k"),
            partial(start, two, 1),
            commit=commit,
        )
        assert (first.is_new, second.is_new) == (True, not commit)
        assert (first.workflow_id == second.workflow_id) is commit
        assert len(two.jobs(second.workflow_id)) == 1


@covers(Fault.CONFLICT, Phase.START)
def test_another_start_with_the_same_key_is_refused_after_it_waited(ledger_url: str) -> None:
    graph = graph_of(add.s(1, 0))
    with fakes(ledger_url, 2) as (one, two):

        def write(tx: Transaction) -> Started:
            return started(tx, graph, tenant="acme", key="k")

        with pytest.raises(KeyConflict):
            while_open(one.ledger, write, partial(start, two, 2))


@covers(Fault.CONFLICT, Phase.CLAIM)
@covers(Fault.DUPLICATE, Phase.CLAIM)
def test_a_job_is_claimed_by_one_of_many(ledger_url: str) -> None:
    with fakes(ledger_url, 4) as four:
        for _ in range(ROUNDS):
            (dispatch,) = four[0].start(add.s(1, 2)).dispatches
            claimed = concurrently([partial(fake.claim, dispatch) for fake in four])
            assert sorted(claim is None for claim in claimed) == [False, True, True, True]
            assert four[0].job(dispatch.job_id).attempt == 1


@covers(Fault.CONFLICT, Phase.SWEEP, Phase.RETRY)
def test_due_jobs_are_dispatched_by_one_of_many_caretakers(ledger_url: str) -> None:
    with fakes(ledger_url, 4) as four:
        for _ in range(5):
            ids = [four[0].jobs(four[0].start(add.s(1, 2).set(countdown=60)).workflow_id)[0].id for _ in range(20)]
            for job_id in ids:
                four[0].age(job_id, due_at=1)
            calls = [
                partial(p.dispatched_by, lambda tx: due_jobs.dispatch_due(tx, 7)) for p in four for _ in range(3)
            ]
            dispatches = [dispatch.job_id for dispatches in concurrently(calls) for dispatch in dispatches]
            assert len(dispatches) == len(set(dispatches))
            while more := four[0].dispatched_by(lambda tx: due_jobs.dispatch_due(tx, 100)):
                dispatches += [dispatch.job_id for dispatch in more]
            assert sorted(dispatches) == sorted(ids)


@covers(Fault.CONFLICT, Phase.SWEEP)
def test_sleeps_that_are_over_are_each_ended_by_one_of_many_caretakers(ledger_url: str) -> None:
    with fakes(ledger_url, 4) as four:
        one, sent = four[0], list[Dispatch]()
        for fake in four:
            fake.ledger.publish = sent.extend
        for _ in range(ROUNDS):
            started = one.start(numbers.s(6) | each(group(add.s(1) | sleep(hours=1), add.s(2))) | echo.s())
            one.run(*started.dispatches)
            ids = [job.id for job in one.jobs(started.workflow_id) if job.kind == JobKind.SLEEP]
            for sleep_id in ids:
                one.age(sleep_id, due_at=1)
            concurrently(
                [partial(p.write, lambda tx: due_jobs.dispatch_due(tx, 4)) for p in four for _ in range(3)]
            )
            one.write(lambda tx: due_jobs.dispatch_due(tx, 100))
            one.run(*sent)
            sent.clear()
            assert one.workflow(started.workflow_id).status == WorkflowStatus.SUCCEEDED


@covers(Fault.CONFLICT, Phase.SWEEP)
def test_a_lost_job_is_rescued_by_one_of_many(ledger_url: str) -> None:
    with fakes(ledger_url, 4) as four:
        dead = FakeWorker(four[0].ledger, lease=-1)
        claimed = [dead.begin(add.s(1, 2)) for _ in range(20)]
        rescue = [partial(p.write, lambda tx: rescues.rescue_lost(tx, decided(0), 100)) for p in four]
        rescued = [job.attempt.job_id for one in concurrently(rescue) for job in one]
        assert sorted(rescued) == sorted(claim.job_id for claim in claimed)
        assert {tuple(four[0].history(job_id)) for job_id in rescued} == {((1, "lost"),)}
