"""Queues as the ledger counts them, whatever the broker says."""

from __future__ import annotations

from collections.abc import Collection

from celery import Signature, group

from agentq.ledger.queries import queues as ledger_queues
from agentq.operations import queues
from agentq.states import JobStatus
from tests.support.fake_worker import FakeWorker
from tests.support.steps import echo


def many(count: int, **options: object) -> Signature:
    """A canvas of so many jobs, ready at once unless the options say otherwise."""
    return group([echo.s(number).set(**options) for number in range(count)])


def test_jobs_are_counted_by_queue_and_status(fake: FakeWorker) -> None:
    fake.start(many(3, queue="llm"))
    running, *_ = fake.start(many(2, queue="io")).dispatches
    fake.take(running)
    fake.start(many(2, queue="llm", countdown=60) | echo.s().set(queue="never"))
    found = {queue.name: queue for queue in queues.list_(fake.ledger)}
    assert {name: (queue.queued, queue.scheduled, queue.running) for name, queue in found.items()} == {
        "io": (1, 0, 1),
        "llm": (3, 2, 0),
    }


def test_waiting_and_final_jobs_are_no_load(fake: FakeWorker) -> None:
    started = fake.start(echo.s(1) | echo.s())
    fake.run(*started.dispatches)
    assert queues.list_(fake.ledger) == []


def test_the_oldest_job_is_measured_by_the_ledgers_clock(fake: FakeWorker) -> None:
    started = fake.start(many(3, queue="llm"))
    fake.age(started.dispatches[1].job_id, dispatched_at=90)
    (queue,) = queues.list_(fake.ledger)
    assert queue.oldest_seconds is not None
    assert 90 <= queue.oldest_seconds < 120
    fake.take(started.dispatches[1])
    (queue,) = queues.list_(fake.ledger)
    assert queue.oldest_seconds is not None
    assert queue.oldest_seconds < 90


def test_counting_stops_and_says_where(fake: FakeWorker) -> None:
    fake.start(many(3, queue="long") | echo.s())
    fake.start(many(1, queue="short"))
    fake.start(many(3, queue="late", countdown=60))
    loads = fake.ledger.read(lambda connection: ledger_queues.loads(connection, most=2))
    assert {name: (load.queued, load.scheduled, load.capped) for name, load in loads.items()} == {
        "long": (2, 0, (JobStatus.QUEUED, JobStatus.SCHEDULED)),
        "short": (1, 0, (JobStatus.SCHEDULED,)),
        "late": (0, 2, (JobStatus.SCHEDULED,)),
    }


def test_idle_queues_and_depths_are_shown_where_known(fake: FakeWorker) -> None:
    fake.start(many(2, queue="llm"))
    asked: list[Collection[str]] = []

    def depths(names: Collection[str]) -> dict[str, int]:
        asked.append(names)
        return {"llm": 7}

    found = queues.list_(fake.ledger, known=["idle", "llm"], depths=depths)
    assert [(queue.name, queue.depth, queue.queued) for queue in found] == [("idle", None, 0), ("llm", 7, 2)]
    assert asked == [["idle", "llm"]]
