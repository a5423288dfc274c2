"""Two people, or a person and a worker, decide about the same dead job at the same moment."""

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
from tests.races.overlap import at_one_moment, players, while_open
from tests.support.faults import Fault, Moment, covers
from tests.support.player import Player, recorded
from tests.support.steps import add, echo, total

ROUNDS = 30


def replay(ledger: Ledger, job_id: uuid.UUID) -> bool:
    """Replay a dead job; False where somebody else did."""
    try:
        ledger.write(lambda tx: dead_letters.replay(tx, job_id, actor="ann", reason="again"))
    except StateConflict:
        return False
    return True


def finish(player: Player, workflow_id: uuid.UUID) -> None:
    """Let a caretaker dispatch what is due, run it all, and see the workflow's end."""
    player.run(*player.dispatched_by(lambda tx: due_jobs.dispatch_due(tx, 10)))
    assert player.workflow(workflow_id).status == WorkflowStatus.SUCCEEDED


@covers(Fault.CONFLICT, Moment.REPLAY)
@pytest.mark.parametrize("how_many", [2, 8])
def test_of_replays_at_one_moment_one_counts(ledger_url: str, how_many: int) -> None:
    with players(ledger_url, how_many) as all_players:
        for _ in range(ROUNDS):
            held = all_players[0].begin(add.s(1, 2) | echo.s())
            all_players[0].fail(held)
            done = at_one_moment([partial(replay, player.ledger, held.job_id) for player in all_players])
            assert sorted(done) == [False] * (how_many - 1) + [True]
            job = all_players[0].job(held.job_id)
            assert (job.status, job.max_attempts) == (JobStatus.SCHEDULED, held.attempt + job.allowance)
            finish(all_players[0], held.workflow_id)


@covers(Fault.CONFLICT, Moment.REPLAY)
def test_a_replay_that_finds_another_one_open_changes_nothing(ledger_url: str) -> None:
    with players(ledger_url, 2) as (one, two):
        held = one.begin(add.s(1, 2))
        one.fail(held)
        _, second = while_open(
            one.ledger,
            lambda tx: dead_letters.replay(tx, held.job_id, actor="ann", reason="again"),
            partial(replay, two.ledger, held.job_id),
        )
        assert second is False
        finish(one, held.workflow_id)


@covers(Fault.CONFLICT, Moment.REPLAY, Moment.DEAD_LETTER)
@pytest.mark.parametrize("replay_first", [True, False])
def test_a_replay_does_not_hide_a_failure_beside_it(ledger_url: str, replay_first: bool) -> None:
    """One branch is replayed while the other one dies: the workflow must not look as if it ran."""
    with players(ledger_url, 2) as (one, two):
        dead, dying = [one.take(bell) for bell in one.start(group(add.s(1, 2), add.s(3, 4)) | total.s()).bells]
        one.fail(dead)
        calls: list[Any] = [partial(two.fail, dying), partial(replay, two.ledger, dead.job_id)]
        if replay_first:
            while_open(
                one.ledger, lambda tx: dead_letters.replay(tx, dead.job_id, actor="ann", reason="x"), calls[0]
            )
        else:
            at_one_moment(calls)
        assert one.workflow(dead.workflow_id).status == WorkflowStatus.FAILED
        assert one.workflow(dead.workflow_id).failed_job_id == dying.job_id
        assert replay(one.ledger, dying.job_id)
        finish(one, dead.workflow_id)
        assert one.result(dead.workflow_id) == 10


@covers(Fault.CONFLICT, Moment.REPLAY)
def test_two_branches_replayed_at_one_moment_reopen_the_workflow(ledger_url: str) -> None:
    with players(ledger_url, 2) as both:
        for _ in range(ROUNDS):
            bells = both[0].start(group(add.s(1, 2), add.s(3, 4)) | total.s()).bells
            dead = [both[0].take(bell) for bell in bells]
            for held in dead:
                both[0].fail(held)
            calls = [partial(replay, player.ledger, held.job_id) for player, held in zip(both, dead, strict=True)]
            assert at_one_moment(calls) == [True, True]
            assert both[0].workflow(dead[0].workflow_id).status == WorkflowStatus.RUNNING
            finish(both[0], dead[0].workflow_id)


@covers(Fault.CONFLICT, Moment.COMPLETION)
def test_a_completion_and_a_deadline_tell_one_story(ledger_url: str) -> None:
    with players(ledger_url, 2) as (worker, caretaker):
        for _ in range(ROUNDS):
            held = worker.begin(add.s(1, 2))
            worker.age(held.job_id, deadline_at=0)
            handed, ended = at_one_moment(
                [partial(worker.succeed, held, 3), partial(caretaker.write, _end_overdue)]
            )
            job = worker.job(held.job_id)
            assert handed.accepted is (ended == 0)
            assert job.status == (JobStatus.SUCCEEDED if handed.accepted else JobStatus.FAILED)
            assert worker.history(held.job_id) == [(1, "succeeded" if handed.accepted else "failed")]


@covers(Fault.CONFLICT, Moment.COMPLETION)
def test_a_deadline_that_finds_the_completion_open_leaves_it(ledger_url: str) -> None:
    with players(ledger_url, 2) as (worker, caretaker):
        held = worker.begin(add.s(1, 2))
        worker.age(held.job_id, deadline_at=0)
        handed, ended = while_open(
            worker.ledger,
            lambda tx: recorded(tx, held, Succeed("3")),
            partial(caretaker.write, _end_overdue),
        )
        assert (handed.accepted, ended) == (True, 0)
        assert worker.result(held.workflow_id) == 3


def _end_overdue(tx: Transaction) -> int:
    return expiry.end_overdue(tx, 10)
