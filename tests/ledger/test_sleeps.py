"""Sleeps on every ledger: each ends once, when it is over, and not before."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from celery import group

from agentq import each, sleep
from agentq.ledger import cancels, dead_letters, sleeps
from agentq.ledger.caretaking import expiry
from agentq.ledger.caretaking.work import Work, find_work
from agentq.ledger.records import Dispatch
from agentq.states import JobStatus, WorkflowStatus
from tests.support.fake_worker import FakeWorker
from tests.support.steps import add, numbers, total

WHO = {"actor": "ann", "reason": "a trial"}


def sleeping(fake: FakeWorker, canvas: Any) -> tuple[uuid.UUID, list[uuid.UUID]]:
    """Start a canvas and run it until all its sleeps are scheduled; the workflow's id and theirs."""
    started = fake.start(canvas)
    fake.run(*started.dispatches)
    rows = [job for job in fake.jobs(started.workflow_id) if job.kind == "sleep"]
    assert {row.status for row in rows} == {JobStatus.SCHEDULED}
    return started.workflow_id, [row.id for row in rows]


@pytest.fixture
def sent(fake: FakeWorker) -> Iterator[list[Dispatch]]:
    """The jobs that were dispatched after a commit; without a way to publish them, nothing follows one."""
    sent: list[Dispatch] = []
    fake.ledger.publish = sent.extend
    yield sent
    fake.ledger.publish = None


def finish(fake: FakeWorker, sent: list[Dispatch]) -> None:
    """Run what is due, and what follows it, until nothing is."""
    while is_any_due(fake) or sent:
        ready, sent[:] = [*sent], []
        fake.run(*ready, *fake.due())


def is_any_due(fake: FakeWorker) -> bool:
    return Work.DUE in fake.ledger.read(lambda connection: find_work(connection, fake.worker_id, 10))


def test_a_sleep_that_is_not_over_goes_on_whoever_asks(fake: FakeWorker) -> None:
    _, [sleep_id] = sleeping(fake, add.s(1, 2) | sleep(hours=1) | add.s(4))
    fake.ledger.write(lambda tx: sleeps.end(tx, sleep_id))
    assert fake.job(sleep_id).status == JobStatus.SCHEDULED
    assert not is_any_due(fake)


def test_a_sleep_that_is_over_is_ended_once_by_a_caretaker(fake: FakeWorker, sent: list[Dispatch]) -> None:
    workflow_id, [sleep_id] = sleeping(fake, add.s(1, 2) | sleep(hours=1) | add.s(4))
    fake.age(sleep_id, due_at=1)
    assert is_any_due(fake)
    finish(fake, sent)
    fake.ledger.write(lambda tx: sleeps.end(tx, sleep_id))
    assert fake.job(sleep_id).result == "3"
    assert fake.jobs(workflow_id)[-1].result == "7"
    assert fake.workflow(workflow_id).status == WorkflowStatus.SUCCEEDED
    assert fake.history(sleep_id) == []


def test_a_sleep_that_was_cancelled_is_not_ended(fake: FakeWorker) -> None:
    workflow_id, [sleep_id] = sleeping(fake, add.s(1, 2) | sleep(hours=1) | add.s(4))
    fake.age(sleep_id, due_at=1)
    fake.write(lambda tx: cancels.cancel(tx, workflow_id, **WHO))
    fake.ledger.write(lambda tx: sleeps.end(tx, sleep_id))
    assert fake.job(sleep_id).status == JobStatus.CANCELLED


def test_sleeps_of_a_fan_out_each_count_into_their_fan_in(fake: FakeWorker, sent: list[Dispatch]) -> None:
    canvas = numbers.s(3) | each(add.s(1) | sleep(hours=1)) | total.s()
    workflow_id, ids = sleeping(fake, canvas)
    for sleep_id in ids:
        fake.age(sleep_id, due_at=1)
    finish(fake, sent)
    assert fake.workflow(workflow_id).status == WorkflowStatus.SUCCEEDED
    assert fake.result(workflow_id) == 6


def test_a_cancelled_sleep_whose_fan_in_is_replayed_keeps_its_time(fake: FakeWorker, sent: list[Dispatch]) -> None:
    canvas = group(add.s(1, 2) | sleep(hours=5), add.s(3, 4)) | total.s().set(needs="all", within=60)
    workflow_id, [sleep_id] = sleeping(fake, canvas)
    until = fake.job(sleep_id).due_at
    [join] = [job.id for job in fake.jobs(workflow_id) if job.kind == "join"]
    fake.age(join, deadline_at=1)
    fake.write(lambda tx: expiry.end_overdue(tx, 10))
    assert fake.job(sleep_id).status == JobStatus.CANCELLED
    fake.write(lambda tx: dead_letters.replay(tx, join, **WHO))
    assert (fake.job(sleep_id).status, fake.job(sleep_id).due_at) == (JobStatus.SCHEDULED, until)
    fake.age(sleep_id, due_at=1)
    finish(fake, sent)
    assert fake.workflow(workflow_id).status == WorkflowStatus.SUCCEEDED
