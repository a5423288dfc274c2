"""Two people, or a person and a worker, decide about the same dead job at the same time."""

from __future__ import annotations

import uuid
from functools import partial
from typing import Any

import pytest
from celery import group

from agentq.exceptions import StateConflict
from agentq.ledger import dead_letters
from agentq.ledger.caretaking import due_jobs, expiry
from agentq.ledger.db.session import Ledger
from agentq.ledger.transaction import Transaction
from agentq.outcomes import Succeed
from agentq.states import JobStatus, WorkflowStatus
from tests.races.overlap import concurrently, fakes, while_open
from tests.support.fake_worker import FakeWorker, record
from tests.support.faults import Fault, Phase, covers
from tests.support.steps import add, echo, total

ROUNDS = 30


def replay(ledger: Ledger, job_id: uuid.UUID) -> bool:
    """Replay a dead job; False where another process did."""
    try:
        ledger.write(lambda tx: dead_letters.replay(tx, job_id, actor="ann", reason="again"))
    except StateConflict:
        return False
    return True


def finish(fake: FakeWorker, workflow_id: uuid.UUID) -> None:
    """Let a caretaker dispatch what is due, run it all, and see the workflow's end."""
    fake.run(*fake.dispatched_by(lambda tx: due_jobs.dispatch_due(tx, 10)))
    assert fake.workflow(workflow_id).status == WorkflowStatus.SUCCEEDED


@covers(Fault.CONFLICT, Phase.REPLAY)
@pytest.mark.parametrize("how_many", [2, 8])
def test_one_of_concurrent_replays_counts(ledger_url: str, how_many: int) -> None:
    with fakes(ledger_url, how_many) as all_fakes:
        for _ in range(ROUNDS):
            claimed = all_fakes[0].begin(add.s(1, 2) | echo.s())
            all_fakes[0].fail(claimed)
            done = concurrently([partial(replay, fake.ledger, claimed.job_id) for fake in all_fakes])
            assert sorted(done) == [False] * (how_many - 1) + [True]
            job = all_fakes[0].job(claimed.job_id)
            assert (job.status, job.max_attempts) == (JobStatus.SCHEDULED, claimed.attempt + job.allowance)
            finish(all_fakes[0], claimed.workflow_id)


@covers(Fault.CONFLICT, Phase.REPLAY)
def test_a_replay_that_finds_another_one_open_changes_nothing(ledger_url: str) -> None:
    with fakes(ledger_url, 2) as (one, two):
        claimed = one.begin(add.s(1, 2))
        one.fail(claimed)
        _, second = while_open(
            one.ledger,
            lambda tx: dead_letters.replay(tx, claimed.job_id, actor="ann", reason="again"),
            partial(replay, two.ledger, claimed.job_id),
        )
        assert second is False
        finish(one, claimed.workflow_id)


@covers(Fault.CONFLICT, Phase.REPLAY, Phase.DEAD_LETTER)
@pytest.mark.parametrize("replay_first", [True, False])
def test_a_replay_does_not_hide_a_failure_beside_it(ledger_url: str, replay_first: bool) -> None:
    """One branch is replayed while the other one dies: the workflow must not look as if it ran."""
    with fakes(ledger_url, 2) as (one, two):
        dead, dying = [
            one.take(dispatch) for dispatch in one.start(group(add.s(1, 2), add.s(3, 4)) | total.s()).dispatches
        ]
        one.fail(dead)
        calls: list[Any] = [partial(two.fail, dying), partial(replay, two.ledger, dead.job_id)]
        if replay_first:
            while_open(
                one.ledger, lambda tx: dead_letters.replay(tx, dead.job_id, actor="ann", reason="x"), calls[0]
            )
        else:
            concurrently(calls)
        assert one.workflow(dead.workflow_id).status == WorkflowStatus.FAILED
        assert one.workflow(dead.workflow_id).failed_job_id == dying.job_id
        assert replay(one.ledger, dying.job_id)
        finish(one, dead.workflow_id)
        assert one.result(dead.workflow_id) == 10


@covers(Fault.CONFLICT, Phase.REPLAY)
def test_two_branches_replayed_concurrently_reopen_the_workflow(ledger_url: str) -> None:
    with fakes(ledger_url, 2) as both:
        for _ in range(ROUNDS):
            dispatches = both[0].start(group(add.s(1, 2), add.s(3, 4)) | total.s()).dispatches
            dead = [both[0].take(dispatch) for dispatch in dispatches]
            for claimed in dead:
                both[0].fail(claimed)
            calls = [
                partial(replay, fake.ledger, claimed.job_id) for fake, claimed in zip(both, dead, strict=True)
            ]
            assert concurrently(calls) == [True, True]
            assert both[0].workflow(dead[0].workflow_id).status == WorkflowStatus.RUNNING
            finish(both[0], dead[0].workflow_id)


@covers(Fault.CONFLICT, Phase.COMPLETION)
def test_a_completion_beside_a_deadline_records_one_end(ledger_url: str) -> None:
    with fakes(ledger_url, 2) as (worker, caretaker):
        for _ in range(ROUNDS):
            claimed = worker.begin(add.s(1, 2))
            worker.age(claimed.job_id, deadline_at=0)
            recorded, ended = concurrently(
                [partial(worker.succeed, claimed, 3), partial(caretaker.write, _end_overdue)]
            )
            job = worker.job(claimed.job_id)
            assert recorded.accepted is (ended == 0)
            assert job.status == (JobStatus.SUCCEEDED if recorded.accepted else JobStatus.FAILED)
            assert worker.history(claimed.job_id) == [(1, "succeeded" if recorded.accepted else "failed")]


@covers(Fault.CONFLICT, Phase.COMPLETION)
def test_a_deadline_that_finds_the_completion_open_leaves_it(ledger_url: str) -> None:
    with fakes(ledger_url, 2) as (worker, caretaker):
        claimed = worker.begin(add.s(1, 2))
        worker.age(claimed.job_id, deadline_at=0)
        recorded, ended = while_open(
            worker.ledger,
            lambda tx: record(tx, claimed, Succeed("3")),
            partial(caretaker.write, _end_overdue),
        )
        assert (recorded.accepted, ended) == (True, 0)
        assert worker.result(claimed.workflow_id) == 3


def _end_overdue(tx: Transaction) -> int:
    return expiry.end_overdue(tx, 10)
