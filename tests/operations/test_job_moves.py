"""Jobs that wait are moved to another queue, by a person; what was sent for them to the old one does nothing."""

from __future__ import annotations

import json

import pytest
from celery import group
from sqlalchemy import select

from agentq.exceptions import InvalidArguments, NotFound, StateConflict
from agentq.ledger.caretaking import due_jobs
from agentq.ledger.models import ActionRow
from agentq.operations import jobs
from agentq.operations.jobs import JobFilter
from agentq.states import JobStatus
from tests.support.player import Player
from tests.support.steps import echo, total


def test_a_queued_job_is_dispatched_to_the_new_queue_and_the_old_message_takes_nothing(player: Player) -> None:
    (old,) = player.start(echo.s(1)).bells
    moved = jobs.move(player.ledger, str(old.job_id), "other", actor="ann", reason="more workers")
    assert (moved.queue, moved.status) == ("other", JobStatus.SCHEDULED)
    assert player.claim(old) is None
    (new,) = player.dispatched_by(lambda tx: due_jobs.dispatch_due(tx, 10))
    assert (new.job_id, new.queue) == (old.job_id, "other")
    assert player.claim(old) is None
    held = player.take(new)
    assert held.attempt == 1
    (action,) = player.ledger.read(lambda c: c.execute(select(ActionRow.__table__)).all())
    assert (action.action, action.actor, action.reason, action.job_id) == (
        "move job",
        "ann",
        "more workers",
        old.job_id,
    )
    assert json.loads(action.details) == {"queue": "celery"}


def test_what_waits_for_its_time_or_for_jobs_before_it_goes_on_in_the_new_queue(player: Player) -> None:
    held = player.begin(echo.s(1) | echo.s())
    after = player.jobs(held.workflow_id)[1]
    player.retry(held, 60)
    due_at = player.job(held.job_id).due_at
    for job_id in (held.job_id, after.id):
        jobs.move(player.ledger, str(job_id), "other")
    first, second = player.jobs(held.workflow_id)
    assert (first.status, first.due_at, second.status) == (JobStatus.SCHEDULED, due_at, JobStatus.WAITING)
    player.age(held.job_id, due_at=1)
    (bell,) = player.dispatched_by(lambda tx: due_jobs.dispatch_due(tx, 10))
    (following,) = player.succeed(player.take(bell), 1).bells
    assert (bell.queue, following.queue) == ("other", "other")
    player.take(following)


@pytest.mark.parametrize("status", [JobStatus.RUNNING, JobStatus.SUCCEEDED, JobStatus.FAILED])
def test_a_job_that_runs_or_has_ended_stays_where_it_is(player: Player, status: JobStatus) -> None:
    held = player.begin(echo.s(1))
    if status == JobStatus.SUCCEEDED:
        player.succeed(held)
    elif status == JobStatus.FAILED:
        player.fail(held)
    before = player.job(held.job_id)
    with pytest.raises(StateConflict, match=f"is {status}, but must be queued or scheduled or waiting") as refused:
        jobs.move(player.ledger, str(held.job_id), "other")
    assert ("cancel it" if status == JobStatus.RUNNING else "has ended") in str(refused.value)
    assert player.job(held.job_id) == before


def test_a_join_is_not_moved(player: Player) -> None:
    started = player.start(group([echo.s(1), echo.s(2)]) | total.s())
    join = next(job for job in player.jobs(started.workflow_id) if job.kind == "join")
    with pytest.raises(StateConflict, match="is a join, which no worker runs"):
        jobs.move(player.ledger, str(join.id), "other")


@pytest.mark.parametrize("queue", ["", "q" * 256, "a\nb"])
def test_what_is_no_name_of_a_queue_is_refused(player: Player, queue: str) -> None:
    (bell,) = player.start(echo.s(1)).bells
    with pytest.raises(InvalidArguments, match="1 to 255 printable characters"):
        jobs.move(player.ledger, str(bell.job_id), queue)
    with pytest.raises(InvalidArguments, match="1 to 255 printable characters"):
        jobs.move_all(player.ledger, JobFilter(), queue, dry_run=True)


def test_a_job_that_is_not_there_is_told(player: Player) -> None:
    with pytest.raises(NotFound, match="agentq jobs list"):
        jobs.move(player.ledger, "019a0000-0000-7000-8000-000000000000", "other")


def test_many_are_moved_by_filter_and_those_that_run_are_left(player: Player) -> None:
    first, *_ = player.start(group([echo.s(number) for number in range(4)])).bells
    player.start(echo.s(5).set(queue="third"))
    player.take(first)
    wanted = JobFilter(queue="celery", step=echo.name)
    plan = jobs.move_all(player.ledger, wanted, "other", dry_run=True)
    assert len(plan.done) == plan.fit == 3
    assert {job.queue for job in plan.done} == {"celery"}
    done = jobs.move_all(player.ledger, wanted, "other", actor="ann")
    assert {job.queue for job in done.done} == {"other"}
    assert done.refused == []
    queues = sorted(job.queue for job in jobs.list_(player.ledger, JobFilter()))
    assert queues == ["celery", "other", "other", "other", "third"]
    assert jobs.move_all(player.ledger, JobFilter(queue="other"), "other").done == []
