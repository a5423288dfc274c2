"""What steps tell, in the ledger: numbered as it is committed, told by whoever holds the job, read to the end."""

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
from tests.races.overlap import at_one_moment, players, while_open
from tests.support.player import Player
from tests.support.steps import add, total


def tell(player: Player, held: Any, data: object = 1, kind: str = "draft") -> int | None:
    return player.ledger.write_statement(lambda tx: moves.tell(tx, held.job_id, held.attempt, kind, str(data)))


def read(ledger: Ledger, workflow_id: uuid.UUID, after: str | None = None) -> list[Event]:
    return list(operations.follow(ledger, str(workflow_id), after=after, follow=False))


def kinds(events: list[Event]) -> list[str]:
    return [event.kind for event in events]


def test_events_have_the_numbers_of_their_workflow(player: Player) -> None:
    one, other = player.begin(add.s(1, 2)), player.begin(add.s(1, 2))
    assert [tell(player, one), tell(player, one), tell(player, other)] == [1, 2, 1]


def test_an_attempt_that_lost_its_job_tells_nothing(player: Player) -> None:
    held = player.begin(add.s(1, 2))
    (bell,) = player.retry(held).bells
    assert tell(player, held) is None
    again = player.take(bell)
    assert (tell(player, held), tell(player, again)) == (None, 1)
    player.write(lambda tx: cancels.cancel(tx, held.workflow_id, actor="ann", reason="enough"))
    assert tell(player, again) is None


def test_nothing_is_told_after_an_end_that_is_under_way(ledger_url: str) -> None:
    """Told beside the open transaction of the attempt's end, it waits for that, and then is not written."""
    with players(ledger_url, 2) as (first, second):
        held = first.begin(add.s(1, 2))
        told = while_open(
            first.ledger,
            lambda tx: moves.succeed(tx, held.job_id, held.attempt, "3"),
            lambda: tell(second, held),
            commit=False,
        )
        assert told == (True, 1), "rolled back, the attempt goes on, and tells"
        first.succeed(held, 3)
        assert tell(second, held) is None


def test_of_two_that_take_a_number_one_waits_and_tries_again(ledger_url: str) -> None:
    """So a number is never seen before the one below it: who reads on after it misses nothing."""
    with players(ledger_url, 2) as (first, second):
        bells = first.start(group(add.s(1, 2), add.s(3, 4)) | total.s()).bells
        one, other = (first.take(bell) for bell in bells)
        results = while_open(
            first.ledger,
            lambda tx: moves.tell(tx, one.job_id, one.attempt, "draft", "1"),
            lambda: tell(second, other),
        )
        assert results == (1, None if first.ledger.is_postgresql else 2)


def test_many_at_once_get_every_number_once(ledger_url: str) -> None:
    with players(ledger_url, 4) as workers:
        bells = workers[0].start(group(add.s(n, 0) for n in range(4)) | total.s()).bells
        held = [worker.take(bell) for worker, bell in zip(workers, bells, strict=True)]

        def tell_ten(number: int) -> list[int]:
            told: list[int] = []
            while len(told) < 10:
                told += filter(None, [tell(workers[number], held[number])])
            return told

        told = at_one_moment([lambda n=n: tell_ten(n) for n in range(4)])  # type: ignore[misc]
        assert sorted(number for numbers in told for number in numbers) == list(range(1, 41))


def test_a_reader_goes_on_after_any_event(player: Player) -> None:
    bells = player.start(group(add.s(1, 2), add.s(3, 4)) | total.s()).bells
    held = [player.take(bell) for bell in bells]
    tell(player, held[0])
    (ready,) = [*player.succeed(held[0], 3).bells, *player.succeed(held[1], 7).bells]
    last = player.take(ready)
    tell(player, last)
    player.succeed(last, 10)
    found = read(player.ledger, last.workflow_id)
    assert (kinds(found)[0], kinds(found)[-1]) == ("workflow.started", "workflow.succeeded")
    assert sorted(kinds(found)[1:-1]) == ["draft"] * 2 + ["job.succeeded"] * 3
    assert len({event.id for event in found}) == len(found)
    for number, event in enumerate(found):
        assert read(player.ledger, last.workflow_id, event.id) == found[number + 1 :]


@pytest.mark.unsound
def test_an_end_that_is_committed_later_than_its_time_is_read(player: Player) -> None:
    """Two attempts end; the one that ended first by the clock is committed after the other was read."""
    bells = player.start(group(add.s(1, 2), add.s(3, 4)) | total.s()).bells
    early, late = (player.take(bell) for bell in bells)
    player.succeed(early, 3)
    found = read(player.ledger, early.workflow_id)
    assert kinds(found) == ["workflow.started", "job.succeeded"]
    player.succeed(late, 7)
    before = update(AttemptRow).where(AttemptRow.job_id == late.job_id).values(finished_at=seconds_from_now(-5))
    player.ledger.write(lambda tx: tx.connection.execute(before))
    more = read(player.ledger, early.workflow_id, found[-1].id)
    assert late.job_id in {event.job_id for event in more}
    assert read(player.ledger, early.workflow_id, more[-1].id) == []


def test_many_events_are_read_a_part_at_a_time(player: Player) -> None:
    held = player.begin(add.s(1, 2))
    of = {"workflow_id": held.workflow_id, "job_id": held.job_id, "attempt": 1, "kind": "draft"}
    rows = [{**of, "number": number, "data": str(number)} for number in range(1, 501)]
    player.ledger.write(lambda tx: tx.connection.execute(insert(EventRow), rows))
    player.succeed(held, 3)
    reader = Reader(player.ledger, str(held.workflow_id))
    parts = []
    while not reader.is_over:
        parts.append(reader.read())
    assert max(map(len, parts)) <= 202
    assert [event.data for part in parts for event in part if event.kind == "draft"] == [*range(1, 501)]
    assert parts[-1][-1].is_end


def test_only_the_newest_progress_is_kept(player: Player) -> None:
    held = player.begin(add.s(1, 2))
    numbers = [tell(player, held, kind="progress") for _ in range(3)]
    tell(player, held)
    player.write(lambda tx: moves.forget_before(tx, held.job_id, "progress", numbers[-1] or 0))
    found = read(player.ledger, held.workflow_id)
    assert kinds(found) == ["workflow.started", "progress", "draft"]


def test_a_replay_opens_the_stream_again(player: Player) -> None:
    held = player.begin(add.s(1, 2))
    player.fail(held)
    found = read(player.ledger, held.workflow_id)
    assert kinds(found) == ["workflow.started", "job.failed", "workflow.failed"]
    player.write(lambda tx: dead_letters.replay(tx, held.job_id, actor="ann", reason="mended"))
    assert read(player.ledger, held.workflow_id, found[-1].id) == []
    (bell,) = player.due()
    player.succeed(player.take(bell), 3)
    assert kinds(read(player.ledger, held.workflow_id, found[-1].id)) == ["job.succeeded", "workflow.succeeded"]


def test_what_is_pruned_takes_its_events_along(player: Player) -> None:
    held = player.begin(add.s(1, 2))
    tell(player, held)
    player.succeed(held, 3)
    player.ledger.write(lambda tx: retention.delete_workflows(tx, [held.workflow_id], older_than=-60))
    assert player.ledger.read(lambda c: c.scalar(select(func.count()).select_from(EventRow))) == 0


def test_an_id_that_is_none_is_refused(player: Player) -> None:
    with pytest.raises(InvalidArguments, match="must be the id of an event"):
        read(player.ledger, uuid.uuid4(), "last week")
    with pytest.raises(NotFound):
        read(player.ledger, uuid.uuid4())
