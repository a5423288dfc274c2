"""Starts on every ledger: everything or nothing, and once for each key."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from celery import group
from sqlalchemy import update

from agentq import each
from agentq.exceptions import KeyConflict
from agentq.ledger import starts
from agentq.ledger.models import WorkflowRow
from agentq.ledger.queries import workflows
from agentq.ledger.transaction import Transaction
from agentq.states import JobStatus, WorkflowStatus
from tests.support.fake_worker import FakeWorker, Started, graph_of
from tests.support.steps import add, echo, numbers, total


def test_a_start_writes_all_jobs_and_dispatches_the_first(fake: FakeWorker) -> None:
    started = fake.start(group(add.s(1, 2), add.s(3, 4)) | total.s())
    assert started.is_new
    assert fake.workflow(started.workflow_id).status == WorkflowStatus.RUNNING
    jobs = fake.jobs(started.workflow_id)
    assert sorted((job.kind, job.status, job.remaining) for job in jobs) == [
        ("join", JobStatus.WAITING, 2),
        ("step", JobStatus.QUEUED, 0),
        ("step", JobStatus.QUEUED, 0),
        ("step", JobStatus.WAITING, 1),
    ]
    assert {dispatch.job_id for dispatch in started.dispatches} == {
        job.id for job in jobs if job.status == JobStatus.QUEUED
    }


def test_a_dispatch_of_a_start_equals_its_row(fake: FakeWorker) -> None:
    started = fake.start(add.s(1, 2).set(queue="io", priority=7, soft_time_limit=3.5))
    (dispatch,), (job,) = started.dispatches, fake.jobs(started.workflow_id)
    assert (dispatch.job_id, dispatch.workflow_id, dispatch.step) == (job.id, started.workflow_id, add.name)
    assert (dispatch.queue, dispatch.priority, dispatch.timeout, dispatch.tenant) == ("io", 7, 3.5, "acme")
    assert (job.queue, job.priority, job.timeout, job.tenant) == ("io", 7, 3.5, "acme")
    assert abs((dispatch.dispatched_at - job.dispatched_at).total_seconds()) < 1


def test_a_start_that_is_rolled_back_leaves_nothing(fake: FakeWorker) -> None:
    with fake.ledger.engine.connect() as connection:
        with connection.begin() as transaction:
            started = starts.start(Transaction(connection), graph_of(add.s(1, 2)), tenant="acme", key="k")
            transaction.rollback()
        with connection.begin():
            assert workflows.get(connection, started.workflow_id) is None
    assert fake.start(add.s(5, 5), key="k").is_new


def test_the_same_start_with_the_same_key_is_one_workflow(fake: FakeWorker) -> None:
    canvas = numbers.s(3) | total.s()
    first = fake.start(canvas, key="digest")
    again = fake.start(numbers.s(3) | total.s(), key="digest")
    assert again == Started(first.workflow_id, is_new=False)
    assert len(fake.jobs(first.workflow_id)) == 2
    fake.run(*first.dispatches)
    assert fake.start(canvas, key="digest").workflow_id == first.workflow_id
    assert fake.result(first.workflow_id) == 3


def test_a_key_belongs_to_its_tenant(fake: FakeWorker) -> None:
    ids = {fake.start(add.s(1, 2), tenant=tenant, key="k").workflow_id for tenant in ("acme", "globex")}
    assert len(ids) == 2


def test_starts_without_a_key_are_many_workflows(fake: FakeWorker) -> None:
    assert len({fake.start(add.s(1, 2)).workflow_id for _ in range(3)}) == 3


@pytest.mark.parametrize(
    "other",
    [add.s(1, 3), echo.s(1, 2), add.s(1, 2) | echo.s()],
    ids=["argument", "step", "shape"],
)
def test_a_key_is_not_reused_for_something_else(fake: FakeWorker, other: object) -> None:
    first = fake.start(add.s(1, 2), key="k")
    with pytest.raises(KeyConflict) as conflict:
        fake.start(other, key="k")
    assert conflict.value.workflow_id == str(first.workflow_id)
    assert "'k'" in str(conflict.value)
    assert "'acme'" in str(conflict.value)
    assert len(fake.jobs(first.workflow_id)) == 1


def test_a_key_of_another_release_names_the_same_work(fake: FakeWorker) -> None:
    canvas = numbers.s(2) | each(add.s(1) | group(echo.s(), echo.s())) | echo.s()
    first = fake.start(canvas, key="k")
    fake.run(*first.dispatches)
    fake.ledger.write(
        lambda tx: tx.connection.execute(update(WorkflowRow).values(fingerprint="of another release"))
    )
    assert fake.start(canvas.clone(), key="k").workflow_id == first.workflow_id
    with pytest.raises(KeyConflict, match=r"argument 'count' of step .* is 2 there and 3 here"):
        fake.start(numbers.s(3) | each(add.s(1) | group(echo.s(), echo.s())) | echo.s(), key="k")


def test_a_start_under_ids_of_ones_own_is_the_same_start_when_repeated(fake: FakeWorker) -> None:
    ids: dict[str, Any] = {"workflow_id": uuid.uuid4(), "job_id": uuid.uuid4()}
    first, again = (fake.start(add.s(1, 2), **ids) for _ in range(2))
    assert (first.is_new, again.is_new) == (True, False)
    assert [job.id for job in fake.jobs(ids["workflow_id"])] == [ids["job_id"]]
    assert [dispatch.job_id for dispatch in first.dispatches] == [ids["job_id"]]


def test_a_delayed_first_job_waits_for_its_time(fake: FakeWorker) -> None:
    started = fake.start(add.s(1, 2).set(countdown=3600) | echo.s())
    first = fake.jobs(started.workflow_id)[0]
    assert started.dispatches == ()
    assert first.status == JobStatus.SCHEDULED
    assert 3590 < (first.due_at - first.created_at).total_seconds() < 3610


@pytest.mark.parametrize(
    ("options", "at_the_start", "after_another"),
    [
        ({}, JobStatus.QUEUED, JobStatus.QUEUED),
        ({"countdown": 3600}, JobStatus.SCHEDULED, JobStatus.SCHEDULED),
        ({"eta": timedelta(hours=1)}, JobStatus.SCHEDULED, JobStatus.SCHEDULED),
        # A start does not ask the database for the time.
        ({"eta": -timedelta(hours=1)}, JobStatus.SCHEDULED, JobStatus.QUEUED),
    ],
)
def test_a_time_of_its_own_delays_a_job_at_the_start_and_after_another(
    fake: FakeWorker, options: dict[str, Any], at_the_start: JobStatus, after_another: JobStatus
) -> None:
    if "eta" in options:
        options = {"eta": datetime.now(UTC) + options["eta"]}
    first = fake.start(echo.s().set(**options))
    assert [job.status for job in fake.jobs(first.workflow_id)] == [at_the_start]
    second = fake.start(add.s(1, 2) | echo.s().set(**options))
    fake.succeed(fake.take(*second.dispatches), 3)
    assert [job.status for job in fake.jobs(second.workflow_id)] == [JobStatus.SUCCEEDED, after_another]


def test_a_canvas_with_an_empty_fan_in_starts_what_follows_it(fake: FakeWorker) -> None:
    started = fake.start(group([]) | echo.s())
    fake.run(*started.dispatches)
    assert fake.result(started.workflow_id) == {"args": [[]], "kwargs": {}}
