"""Queues as the ledger counts them, whatever the broker says."""

from __future__ import annotations

from collections.abc import Collection

from celery import Signature, group

from agentq.ledger.queries import queues as ledger_queues
from agentq.operations import queues
from agentq.states import JobStatus
from tests.support.player import Player
from tests.support.steps import echo


def many(count: int, **options: object) -> Signature:
    """A canvas of so many jobs, ready at once unless the options say otherwise."""
    return group([echo.s(number).set(**options) for number in range(count)])


def test_jobs_are_counted_by_queue_and_status(player: Player) -> None:
    player.start(many(3, queue="llm"))
    running, *_ = player.start(many(2, queue="io")).bells
    player.take(running)
    player.start(many(2, queue="llm", countdown=60) | echo.s().set(queue="never"))
    found = {queue.name: queue for queue in queues.list_(player.ledger)}
    assert {name: (queue.queued, queue.scheduled, queue.running) for name, queue in found.items()} == {
        "io": (1, 0, 1),
        "llm": (3, 2, 0),
    }


def test_what_waits_for_other_jobs_or_has_ended_is_no_load(player: Player) -> None:
    started = player.start(echo.s(1) | echo.s())
    player.run(*started.bells)
    assert queues.list_(player.ledger) == []


def test_the_oldest_is_told_by_the_ledgers_clock(player: Player) -> None:
    started = player.start(many(3, queue="llm"))
    player.age(started.bells[1].job_id, dispatched_at=90)
    (queue,) = queues.list_(player.ledger)
    assert queue.oldest_seconds is not None
    assert 90 <= queue.oldest_seconds < 120
    player.take(started.bells[1])
    (queue,) = queues.list_(player.ledger)
    assert queue.oldest_seconds is not None
    assert queue.oldest_seconds < 90


def test_counting_stops_and_says_where(player: Player) -> None:
    player.start(many(3, queue="long") | echo.s())
    player.start(many(1, queue="short"))
    player.start(many(3, queue="late", countdown=60))
    loads = player.ledger.read(lambda connection: ledger_queues.loads(connection, most=2))
    assert {name: (load.queued, load.scheduled, load.capped) for name, load in loads.items()} == {
        "long": (2, 0, (JobStatus.QUEUED, JobStatus.SCHEDULED)),
        "short": (1, 0, (JobStatus.SCHEDULED,)),
        "late": (0, 2, (JobStatus.SCHEDULED,)),
    }


def test_idle_queues_and_depths_are_told_where_they_are_known(player: Player) -> None:
    player.start(many(2, queue="llm"))
    asked: list[Collection[str]] = []

    def depths(names: Collection[str]) -> dict[str, int]:
        asked.append(names)
        return {"llm": 7}

    found = queues.list_(player.ledger, known=["idle", "llm"], depths=depths)
    assert [(queue.name, queue.depth, queue.queued) for queue in found] == [("idle", None, 0), ("llm", 7, 2)]
    assert asked == [["idle", "llm"]]
