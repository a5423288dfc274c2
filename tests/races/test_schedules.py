"""Starters of one schedule beside each other: each tick starts one workflow."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from functools import partial

import pytest
from sqlalchemy import update

from agentq.ids import new_id
from agentq.ledger import schedules, ticks, ticks_by_hand
from agentq.ledger.db.session import Ledger
from agentq.ledger.models import ScheduleRow
from agentq.states import Overlap, ScheduleAction, WorkflowStatus
from tests.races.overlap import concurrently, while_open
from tests.support.scheduled import Scheduler

STARTERS = 8
WHO = {"actor": "ana", "reason": "a trial"}


@pytest.fixture
def starters(ledger_url: str) -> Iterator[list[Scheduler]]:
    """Caretakers that share nothing but the ledger."""
    ledgers = [Ledger(ledger_url) for _ in range(STARTERS)]
    yield [Scheduler(ledger) for ledger in ledgers]
    for ledger in ledgers:
        ledger.close()


def start_one_tick_each(starters: list[Scheduler], count: int) -> None:
    """Have all starters start each of *count* ticks at once."""
    one = starters[0]
    one.declare(every=3600, overlap=Overlap.ALLOW, catch_up=1, catch_up_window=600.0)
    begin = one.now() - timedelta(hours=count + 2)
    for number in range(count):
        tick = ticks.timing_of(one.schedule()).after(begin + timedelta(hours=number))
        seen = _as_if_at(one, tick)
        calls = [partial(ticks.pass_due, one_more.ledger, seen, ticks.graph_of, None) for one_more in starters]
        assert sorted(concurrently(calls)) == [False] * (len(starters) - 1) + [True]
        assert one.schedule().started == number + 1
    keys = [row.key for row in one.started()]
    assert len(keys) == len(set(keys)) == count


def _as_if_at(one: Scheduler, tick: object) -> object:
    """Return the schedule as all starters read it when *tick* came."""
    values = {"next_at": tick, "since": tick - timedelta(seconds=1)}  # type: ignore[operator]
    one.ledger.write(lambda tx: tx.connection.execute(update(ScheduleRow).values(values)))
    row = one.ledger.read(lambda connection: ticks.moves.get_schedule(connection, "acme", "digest"))
    assert row is not None
    mapping = dict(row._mapping) | {"read_at": tick}
    return type("Seen", (), mapping)()


def test_eight_starters_of_a_hundred_ticks_start_each_once(starters: list[Scheduler]) -> None:
    start_one_tick_each(starters, 100)


@pytest.mark.long
def test_eight_starters_of_a_thousand_ticks_start_each_once(starters: list[Scheduler]) -> None:
    start_one_tick_each(starters, 1000)


def test_caretakers_that_look_at_one_time_start_what_is_due_once(starters: list[Scheduler]) -> None:
    one = starters[0]
    names = [f"digest-{number}" for number in range(10)]
    for name in names:
        one.declare(name)
        one.go_back(90, name)
    concurrently([starter.care for starter in starters])
    started = one.started()
    assert len({(row.key, row.scheduled_for) for row in started}) == len(started)
    assert [one.schedule(name).started for name in names] == [1] * len(names)


def test_workers_that_apply_one_new_schedule_at_one_time_write_it_once(starters: list[Scheduler]) -> None:
    done = concurrently([starter.declare for starter in starters])
    assert sorted(map(str, done)) == sorted(["create"] + ["None"] * (STARTERS - 1))
    assert ScheduleAction.CREATE in done


def test_an_owed_workflow_begins_once(starters: list[Scheduler]) -> None:
    one = starters[0]
    one.declare(overlap=Overlap.QUEUE)
    one.go_back(90)
    one.care()
    (first,) = one.started()
    owed = one.now().replace(microsecond=0)
    one.ledger.write(lambda tx: tx.connection.execute(update(ScheduleRow).values(owed_for=owed)))
    one.end(first.id)
    concurrently([starter.care for starter in starters])
    assert [row.scheduled_for for row in one.started()].count(owed) == 1
    assert one.schedule().owed_for is None


def test_a_pause_that_commits_beside_a_tick_comes_before_it_or_after_it(starters: list[Scheduler]) -> None:
    one, two, *_ = starters
    one.declare()
    one.go_back(90)
    action = {**WHO, "action_id": new_id()}
    while_open(one.ledger, lambda tx: schedules.pause(tx, "acme", "digest", None, **action), lambda: two.care())
    assert one.started() == []


def test_a_trigger_beside_a_tick_of_a_schedule_that_skips_starts_one_workflow(starters: list[Scheduler]) -> None:
    one, two, *_ = starters
    one.declare()
    one.go_back(90)
    action = {**WHO, "action_id": new_id()}
    while_open(one.ledger, lambda tx: ticks_by_hand.trigger(tx, "acme", "digest", **action), lambda: two.care())
    (started,) = one.started()
    assert started.key.startswith("schedule:digest:now:")
    assert one.schedule().skipped == 1


def test_a_tick_that_cancels_beside_the_end_of_that_workflow_ends_without_a_deadlock(
    starters: list[Scheduler],
) -> None:
    one, two, *_ = starters
    one.declare(overlap=Overlap.CANCEL)

    def tick(starter: Scheduler) -> None:
        action = {**WHO, "action_id": new_id()}
        starter.ledger.write(lambda tx: ticks_by_hand.trigger(tx, "acme", "digest", **action))

    for _ in range(15):
        tick(one)
        last = one.schedule().last_workflow_id
        [job] = [job for job in one.due() if job.workflow_id == last]
        concurrently([partial(one.succeed, one.take(job), 3), partial(tick, two)])
        assert one.workflow(last).status in (WorkflowStatus.SUCCEEDED, WorkflowStatus.CANCELLED)
