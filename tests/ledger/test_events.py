"""Events in the ledger: numbered in the order of commits, recorded by the job's own worker, read to the end."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from celery import group
from sqlalchemy import func, insert, select, update

from agentq.exceptions import InvalidArguments, NotFound
from agentq.ledger import cancels, dead_letters, moves, retention
from agentq.ledger.db.session import Ledger
from agentq.ledger.db.types import seconds_from_now
from agentq.ledger.models import AttemptRow, EventRow
from agentq.operations import events as operations
from agentq.operations.events import Reader
from agentq.operations.schemas import Event
from tests.races.overlap import concurrently, fakes, while_open
from tests.support.fake_worker import FakeWorker
from tests.support.steps import add, total


def report(fake: FakeWorker, claimed: Any, data: object = 1, kind: str = "draft") -> int | None:
    return fake.ledger.write_statement(
        lambda tx: moves.record_event(tx, claimed.job_id, claimed.attempt, kind, str(data))
    )


def read(ledger: Ledger, workflow_id: uuid.UUID, after: str | None = None) -> list[Event]:
    return list(operations.follow(ledger, str(workflow_id), after=after, follow=False))


def kinds(events: list[Event]) -> list[str]:
    return [event.kind for event in events]


def test_events_have_the_numbers_of_their_workflow(fake: FakeWorker) -> None:
    one, other = fake.begin(add.s(1, 2)), fake.begin(add.s(1, 2))
    assert [report(fake, one), report(fake, one), report(fake, other)] == [1, 2, 1]


def test_an_attempt_that_lost_its_job_records_no_event(fake: FakeWorker) -> None:
    claimed = fake.begin(add.s(1, 2))
    (dispatch,) = fake.retry(claimed).dispatches
    assert report(fake, claimed) is None
    again = fake.take(dispatch)
    assert (report(fake, claimed), report(fake, again)) == (None, 1)
    fake.write(lambda tx: cancels.cancel(tx, claimed.workflow_id, actor="ann", reason="enough"))
    assert report(fake, again) is None


def test_no_event_is_recorded_after_an_uncommitted_end(ledger_url: str) -> None:
    """Told beside the open transaction of the attempt's end, it waits for that, and then is not written."""
    with fakes(ledger_url, 2) as (first, second):
        claimed = first.begin(add.s(1, 2))
        written = while_open(
            first.ledger,
            lambda tx: moves.succeed(tx, claimed.job_id, claimed.attempt, "3"),
            lambda: report(second, claimed),
            commit=False,
        )
        assert written == (True, 1), "rolled back, the attempt goes on, and records its event"
        first.succeed(claimed, 3)
        assert report(second, claimed) is None


def test_one_of_two_events_for_a_number_waits_and_tries_again(ledger_url: str) -> None:
    """A number is never seen before the one below it: a reader who goes on after it misses nothing."""
    with fakes(ledger_url, 2) as (first, second):
        dispatches = first.start(group(add.s(1, 2), add.s(3, 4)) | total.s()).dispatches
        one, other = (first.take(dispatch) for dispatch in dispatches)
        results = while_open(
            first.ledger,
            lambda tx: moves.record_event(tx, one.job_id, one.attempt, "draft", "1"),
            lambda: report(second, other),
        )
        assert results == (1, None if first.ledger.is_postgresql else 2)


def test_many_at_once_get_every_number_once(ledger_url: str) -> None:
    with fakes(ledger_url, 4) as workers:
        dispatches = workers[0].start(group(add.s(n, 0) for n in range(4)) | total.s()).dispatches
        claimed = [worker.take(dispatch) for worker, dispatch in zip(workers, dispatches, strict=True)]

        def record_ten(number: int) -> list[int]:
            numbers: list[int] = []
            while len(numbers) < 10:
                numbers += filter(None, [report(workers[number], claimed[number])])
            return numbers

        written = concurrently([lambda n=n: record_ten(n) for n in range(4)])  # type: ignore[misc]
        assert sorted(number for numbers in written for number in numbers) == list(range(1, 41))


def test_a_reader_goes_on_after_any_event(fake: FakeWorker) -> None:
    dispatches = fake.start(group(add.s(1, 2), add.s(3, 4)) | total.s()).dispatches
    claimed = [fake.take(dispatch) for dispatch in dispatches]
    report(fake, claimed[0])
    (ready,) = [*fake.succeed(claimed[0], 3).dispatches, *fake.succeed(claimed[1], 7).dispatches]
    last = fake.take(ready)
    report(fake, last)
    fake.succeed(last, 10)
    found = read(fake.ledger, last.workflow_id)
    assert (kinds(found)[0], kinds(found)[-1]) == ("workflow.started", "workflow.succeeded")
    assert sorted(kinds(found)[1:-1]) == ["draft"] * 2 + ["job.succeeded"] * 3
    assert len({event.id for event in found}) == len(found)
    for number, event in enumerate(found):
        assert read(fake.ledger, last.workflow_id, event.id) == found[number + 1 :]


@pytest.mark.unsound
def test_an_end_that_is_committed_later_than_its_time_is_read(fake: FakeWorker) -> None:
    """Two attempts end; the one that ended first by the clock is committed after the other was read."""
    dispatches = fake.start(group(add.s(1, 2), add.s(3, 4)) | total.s()).dispatches
    early, late = (fake.take(dispatch) for dispatch in dispatches)
    fake.succeed(early, 3)
    found = read(fake.ledger, early.workflow_id)
    assert kinds(found) == ["workflow.started", "job.succeeded"]
    fake.succeed(late, 7)
    before = update(AttemptRow).where(AttemptRow.job_id == late.job_id).values(finished_at=seconds_from_now(-5))
    fake.ledger.write(lambda tx: tx.connection.execute(before))
    more = read(fake.ledger, early.workflow_id, found[-1].id)
    assert late.job_id in {event.job_id for event in more}
    assert read(fake.ledger, early.workflow_id, more[-1].id) == []


def test_many_events_are_read_in_pages(fake: FakeWorker) -> None:
    claimed = fake.begin(add.s(1, 2))
    of = {"workflow_id": claimed.workflow_id, "job_id": claimed.job_id, "attempt": 1, "kind": "draft"}
    rows = [{**of, "number": number, "data": str(number)} for number in range(1, 501)]
    fake.ledger.write(lambda tx: tx.connection.execute(insert(EventRow), rows))
    fake.succeed(claimed, 3)
    reader = Reader(fake.ledger, str(claimed.workflow_id))
    parts = []
    while not reader.is_over:
        parts.append(reader.read())
    assert max(map(len, parts)) <= 202
    assert [event.data for part in parts for event in part if event.kind == "draft"] == [*range(1, 501)]
    assert parts[-1][-1].is_end


def test_only_the_newest_progress_is_kept(fake: FakeWorker) -> None:
    claimed = fake.begin(add.s(1, 2))
    numbers = [report(fake, claimed, kind="progress") for _ in range(3)]
    report(fake, claimed)
    fake.write(lambda tx: moves.forget_before(tx, claimed.job_id, "progress", numbers[-1] or 0))
    found = read(fake.ledger, claimed.workflow_id)
    assert kinds(found) == ["workflow.started", "progress", "draft"]


def test_a_replay_opens_the_stream_again(fake: FakeWorker) -> None:
    claimed = fake.begin(add.s(1, 2))
    fake.fail(claimed)
    found = read(fake.ledger, claimed.workflow_id)
    assert kinds(found) == ["workflow.started", "job.failed", "workflow.failed"]
    fake.write(lambda tx: dead_letters.replay(tx, claimed.job_id, actor="ann", reason="fixed"))
    assert read(fake.ledger, claimed.workflow_id, found[-1].id) == []
    (dispatch,) = fake.due()
    fake.succeed(fake.take(dispatch), 3)
    assert kinds(read(fake.ledger, claimed.workflow_id, found[-1].id)) == ["job.succeeded", "workflow.succeeded"]


def test_a_pruned_workflow_deletes_its_events(fake: FakeWorker) -> None:
    claimed = fake.begin(add.s(1, 2))
    report(fake, claimed)
    fake.succeed(claimed, 3)
    fake.ledger.write(lambda tx: retention.delete_workflows(tx, [claimed.workflow_id], older_than=-60))
    assert fake.ledger.read(lambda c: c.scalar(select(func.count()).select_from(EventRow))) == 0


def test_an_id_that_is_none_is_refused(fake: FakeWorker) -> None:
    with pytest.raises(InvalidArguments, match="must be the id of an event"):
        read(fake.ledger, uuid.uuid4(), "last week")
    with pytest.raises(NotFound):
        read(fake.ledger, uuid.uuid4())
