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
from tests.support.fake_worker import FakeWorker
from tests.support.steps import echo, total


def test_a_queued_job_is_dispatched_to_the_new_queue_and_the_old_message_takes_nothing(fake: FakeWorker) -> None:
    (old,) = fake.start(echo.s(1)).dispatches
    moved = jobs.move(fake.ledger, str(old.job_id), "other", actor="ann", reason="more workers")
    assert (moved.queue, moved.status) == ("other", JobStatus.SCHEDULED)
    assert fake.claim(old) is None
    (new,) = fake.dispatched_by(lambda tx: due_jobs.dispatch_due(tx, 10))
    assert (new.job_id, new.queue) == (old.job_id, "other")
    assert fake.claim(old) is None
    claimed = fake.take(new)
    assert claimed.attempt == 1
    (action,) = fake.ledger.read(lambda c: c.execute(select(ActionRow.__table__)).all())
    assert (action.action, action.actor, action.reason, action.job_id) == (
        "move job",
        "ann",
        "more workers",
        old.job_id,
    )
    assert json.loads(action.details) == {"queue": "celery"}


def test_a_moved_scheduled_or_waiting_job_runs_in_the_new_queue(fake: FakeWorker) -> None:
    claimed = fake.begin(echo.s(1) | echo.s())
    after = fake.jobs(claimed.workflow_id)[1]
    fake.retry(claimed, 60)
    due_at = fake.job(claimed.job_id).due_at
    for job_id in (claimed.job_id, after.id):
        jobs.move(fake.ledger, str(job_id), "other")
    first, second = fake.jobs(claimed.workflow_id)
    assert (first.status, first.due_at, second.status) == (JobStatus.SCHEDULED, due_at, JobStatus.WAITING)
    fake.age(claimed.job_id, due_at=1)
    (dispatch,) = fake.dispatched_by(lambda tx: due_jobs.dispatch_due(tx, 10))
    (following,) = fake.succeed(fake.take(dispatch), 1).dispatches
    assert (dispatch.queue, following.queue) == ("other", "other")
    fake.take(following)


@pytest.mark.parametrize("status", [JobStatus.RUNNING, JobStatus.SUCCEEDED, JobStatus.FAILED])
def test_a_job_that_runs_or_has_ended_stays_where_it_is(fake: FakeWorker, status: JobStatus) -> None:
    claimed = fake.begin(echo.s(1))
    if status == JobStatus.SUCCEEDED:
        fake.succeed(claimed)
    elif status == JobStatus.FAILED:
        fake.fail(claimed)
    before = fake.job(claimed.job_id)
    expected = f"is {status}, but must be blocked or queued or scheduled or waiting"
    with pytest.raises(StateConflict, match=expected) as refused:
        jobs.move(fake.ledger, str(claimed.job_id), "other")
    assert ("cancel it" if status == JobStatus.RUNNING else "has ended") in str(refused.value)
    assert fake.job(claimed.job_id) == before


def test_a_join_is_not_moved(fake: FakeWorker) -> None:
    started = fake.start(group([echo.s(1), echo.s(2)]) | total.s())
    join = next(job for job in fake.jobs(started.workflow_id) if job.kind == "join")
    with pytest.raises(StateConflict, match="is a fan-in, which no worker runs"):
        jobs.move(fake.ledger, str(join.id), "other")


@pytest.mark.parametrize("queue", ["", "q" * 256, "a\nb"])
def test_an_invalid_queue_name_is_refused(fake: FakeWorker, queue: str) -> None:
    (dispatch,) = fake.start(echo.s(1)).dispatches
    with pytest.raises(InvalidArguments, match="1 to 255 printable characters"):
        jobs.move(fake.ledger, str(dispatch.job_id), queue)
    with pytest.raises(InvalidArguments, match="1 to 255 printable characters"):
        jobs.move_all(fake.ledger, JobFilter(), queue, dry_run=True)


def test_an_unknown_job_is_an_error(fake: FakeWorker) -> None:
    with pytest.raises(NotFound, match="agentq jobs list"):
        jobs.move(fake.ledger, "019a0000-0000-7000-8000-000000000000", "other")


def test_many_are_moved_by_filter_and_those_that_run_are_left(fake: FakeWorker) -> None:
    first, *_ = fake.start(group([echo.s(number) for number in range(4)])).dispatches
    fake.start(echo.s(5).set(queue="third"))
    fake.take(first)
    wanted = JobFilter(queue="celery", step=echo.name)
    plan = jobs.move_all(fake.ledger, wanted, "other", dry_run=True)
    assert len(plan.done) == plan.fit == 3
    assert {job.queue for job in plan.done} == {"celery"}
    done = jobs.move_all(fake.ledger, wanted, "other", actor="ann")
    assert {job.queue for job in done.done} == {"other"}
    assert done.refused == []
    queues = sorted(job.queue for job in jobs.list_(fake.ledger, JobFilter()))
    assert queues == ["celery", "other", "other", "other", "third"]
    assert jobs.move_all(fake.ledger, JobFilter(queue="other"), "other").done == []
