"""Schedules on each database: each tick starts one workflow, as its catch-up and its overlap say."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from agentq.exceptions import InvalidArguments, StateConflict
from agentq.ids import new_id
from agentq.ledger import cancels, schedules, tenants, ticks, ticks_by_hand
from agentq.ledger.db.session import Ledger
from agentq.ledger.db.types import AnyRow
from agentq.ledger.models import ScheduleChangeRow, ScheduleRow
from agentq.states import BlockedBy, JobStatus, Overlap, ScheduleAction, WorkflowStatus
from tests.support.scheduled import DAY, MINUTE, Scheduler
from tests.support.steps import add

WHO = {"actor": "ana", "reason": "a trial"}
NOON = datetime(2020, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def one(ledger: Ledger) -> Scheduler:
    """A caretaker of schedules, whose ledger leaves messages to it."""
    return Scheduler(ledger)


def action() -> dict[str, Any]:
    return {**WHO, "action_id": new_id()}


def changes(one: Scheduler) -> list[tuple[str, str]]:
    rows = one._rows(select(ScheduleChangeRow.__table__).order_by(ScheduleChangeRow.id))
    return [(row.action, row.actor) for row in rows]


class TestDefinitions:
    def test_a_new_schedule_starts_nothing_before_its_first_tick(self, one: Scheduler) -> None:
        assert one.declare(every=3600) == ScheduleAction.CREATE
        assert not one.has_work()
        assert one.care() == 0
        row = one.schedule()
        assert row.since < row.next_at <= row.since + timedelta(hours=1)

    def test_the_same_definition_again_changes_nothing(self, one: Scheduler) -> None:
        one.declare()
        before = one.schedule()
        assert one.declare() is None
        assert one.schedule() == before
        assert changes(one) == [("create", "ana")]

    def test_another_definition_takes_its_place_and_the_history_says_so(self, one: Scheduler) -> None:
        one.declare()
        assert one.declare(canvas=add.s(3, 4), overlap=Overlap.ALLOW) == ScheduleAction.CHANGE
        assert one.schedule().overlap == "allow"
        assert changes(one) == [("create", "ana"), ("change", "ana")]
        details = one._rows(select(ScheduleChangeRow.details).where(ScheduleChangeRow.action == "change"))[0][0]
        assert "overlap skip → allow; canvas add → add" in details

    def test_a_tick_that_came_before_another_canvas_was_declared_still_starts(self, one: Scheduler) -> None:
        one.declare()
        one.go_back(90)
        one.declare(canvas=add.s(3, 4))
        one.care()
        assert len(one.started()) == 1

    def test_ticks_of_other_times_count_from_their_definition_on(self, one: Scheduler) -> None:
        one.declare()
        one.go_back(600)
        one.declare(every=7200)
        assert not one.has_work()
        assert one.schedule().missed == 0

    def test_the_next_tick_is_computed_anew_by_each_worker_that_starts(self, one: Scheduler) -> None:
        one.declare(cron="0 12 * * *")
        right = one.schedule().next_at
        wrong = update(ScheduleRow).values(next_at=right + timedelta(hours=1))  # by older rules of the zone
        one.ledger.write(lambda tx: tx.connection.execute(wrong))
        assert one.declare(cron="0 12 * * *") is None
        assert one.schedule().next_at == right

    def test_two_tenants_have_schedules_of_one_name(self, one: Scheduler) -> None:
        one.declare()
        one.declare(tenant="calm")
        one.go_back(90)
        one.care()
        assert sorted(row.tenant for row in one.started()) == ["acme", "calm"]


class TestTicks:
    def test_a_tick_starts_a_workflow_with_its_key_and_its_time(self, one: Scheduler) -> None:
        one.declare()
        one.go_back(90)
        tick = one.schedule().next_at
        assert one.has_work()
        one.care()
        assert not one.has_work()
        (workflow,) = one.started()
        latest = workflow.scheduled_for
        assert workflow.key == f"schedule:digest:{latest:%Y-%m-%dT%H:%M:%SZ}"
        assert latest >= tick
        row = one.schedule()
        assert (row.last_tick, row.last_workflow_id, row.started) == (latest, workflow.id, 1)
        assert row.next_at == latest + timedelta(seconds=MINUTE)
        one.end(workflow.id)
        assert one.workflow(workflow.id).status == WorkflowStatus.SUCCEEDED

    def test_a_tick_that_was_started_already_is_passed_without_another_start(self, one: Scheduler) -> None:
        one.declare(overlap=Overlap.ALLOW)
        one.go_back(90)
        one.care()
        first = one.started()
        one.go_back(30 if first[0].scheduled_for > one.now() - timedelta(seconds=30) else 90)
        one.care()
        keys = [row.key for row in one.started()]
        assert len(set(keys)) == len(keys)
        assert first[0].key in keys

    def test_a_process_that_read_the_schedule_before_another_passed_its_tick_starts_nothing(
        self, one: Scheduler
    ) -> None:
        one.declare(overlap=Overlap.ALLOW)
        one.go_back(90)
        seen = one.ledger.read(lambda connection: ticks.moves.get_schedule(connection, "acme", "digest"))
        assert seen is not None
        one.care()
        assert not ticks.pass_due(one.ledger, seen, ticks.graph_of, None)
        assert len(one.started()) == 1
        assert one.schedule().started == 1

    def test_a_definition_that_is_replaced_between_look_and_start_starts_nothing(self, one: Scheduler) -> None:
        one.declare()
        one.go_back(90)
        seen = one.ledger.read(lambda connection: ticks.moves.get_schedule(connection, "acme", "digest"))
        assert seen is not None
        one.declare(canvas=add.s(5, 6))
        assert not ticks.pass_due(one.ledger, seen, ticks.graph_of, None)
        assert one.started() == []

    def test_a_key_that_an_earlier_definition_used_means_that_the_tick_was_started(self, one: Scheduler) -> None:
        one.declare(overlap=Overlap.ALLOW)
        one.go_back(90)
        one.care()
        (first,) = one.started()
        one.declare(canvas=add.s(9, 9), overlap=Overlap.ALLOW)
        back = {"since": first.scheduled_for - timedelta(seconds=1), "next_at": first.scheduled_for}
        one.ledger.write(lambda tx: tx.connection.execute(update(ScheduleRow).values(back)))
        one.care()
        assert one.unfit == []
        assert [row.id for row in one.started() if row.scheduled_for == first.scheduled_for] == [first.id]

    def test_over_a_cap_the_workflow_of_a_tick_is_postponed(self, one: Scheduler) -> None:
        one.ledger.write(lambda tx: tenants.set_max_open(tx, "acme", 0, **action()))
        one.declare()
        one.go_back(90)
        one.care()
        (workflow,) = one.started()
        (job,) = one.jobs(workflow.id)
        assert (job.status, job.blocked_by) == (JobStatus.BLOCKED, BlockedBy.BACKLOG)


class TestCatchingUp:
    def test_after_an_outage_the_newest_tick_starts_and_the_others_are_counted(self, one: Scheduler) -> None:
        one.declare()
        one.go_back(5 * MINUTE)
        one.care()
        row = one.schedule()
        assert row.started == 1
        assert row.missed in (4, 5)  # a minute may have begun meanwhile

    def test_as_many_of_the_newest_ticks_start_as_the_schedule_says(self, one: Scheduler) -> None:
        one.declare(catch_up=3, overlap=Overlap.ALLOW)
        one.go_back(5 * MINUTE)
        one.care()
        times = [row.scheduled_for for row in one.started()]
        assert times == [times[-1] - timedelta(minutes=age) for age in (2, 1, 0)]
        assert one.schedule().missed in (2, 3)

    def test_a_tick_that_is_older_than_the_window_is_not_caught_up(self, one: Scheduler) -> None:
        one.declare(every=7200, catch_up_window=3600.0)
        back = {"since": one.now() - timedelta(hours=5), "next_at": one.now() - timedelta(hours=4)}
        one.ledger.write(lambda tx: tx.connection.execute(update(ScheduleRow).values(back)))
        one.care()
        row = one.schedule()
        assert row.started + row.missed == 2
        assert all(one.now() - found.scheduled_for <= timedelta(hours=1) for found in one.started())

    def test_without_catch_up_a_tick_that_just_came_starts_and_an_older_one_does_not(self, one: Scheduler) -> None:
        one.declare(every=1, catch_up=0)
        one.go_back(10)
        one.care()
        assert one.schedule().started == 1
        one.declare("nightly", cron="0 0 1 1 *", catch_up=0)
        one.go_back(366 * DAY, "nightly")
        one.care()
        row = one.schedule("nightly")
        assert (row.started, row.missed) == (0, 1)
        assert row.next_at > one.now()

    def test_a_second_of_a_year_ago_is_passed_at_once(self, one: Scheduler) -> None:
        one.declare(every=1)
        one.go_back(366 * DAY)
        one.care()
        row = one.schedule()
        assert row.started == 1
        assert abs(row.missed - 366 * DAY) < 60


class TestOverlap:
    def tick(self, one: Scheduler) -> None:
        one.go_back(1.5)
        one.care()

    def test_skip_starts_nothing_while_the_last_workflow_is_open(self, one: Scheduler) -> None:
        one.declare(every=1)
        self.tick(one)
        self.tick(one)
        assert len(one.started()) == 1
        assert one.schedule().skipped >= 1
        one.end(one.started()[0].id)
        while len(one.started()) < 2:
            one.care()

    def test_allow_starts_beside_an_open_workflow(self, one: Scheduler) -> None:
        one.declare(every=1, overlap=Overlap.ALLOW)
        self.tick(one)
        one.go_back(0.9)
        while len(one.started()) < 2:
            one.care()
        assert one.schedule().skipped == 0

    def test_queue_owes_one_which_begins_when_the_open_one_has_ended(self, one: Scheduler) -> None:
        one.declare(every=1, overlap=Overlap.QUEUE)
        self.tick(one)
        (first,) = one.started()
        while one.schedule().owed_for is None:
            one.care()
        owed = one.schedule().owed_for
        while one.schedule().skipped == 0:
            one.care()
        assert one.schedule().owed_for == owed
        one.ledger.write(lambda tx: schedules.pause(tx, "acme", "digest", None, **action()))
        one.end(first.id)
        assert not one.has_work()  # it is paused
        one.ledger.write(lambda tx: schedules.resume(tx, "acme", "digest", **action()))
        assert one.has_work()
        one.care()
        assert owed in [row.scheduled_for for row in one.started()]

    def owe(self, one: Scheduler) -> AnyRow:
        """Let a schedule owe a tick while its workflow is open; returns it as a process sees it then."""
        one.declare(overlap=Overlap.QUEUE)
        one.go_back(90)
        one.care()
        owed = one.started()[0].scheduled_for - timedelta(seconds=MINUTE)
        one.ledger.write(lambda tx: tx.connection.execute(update(ScheduleRow).values(owed_for=owed)))
        return self.seen(one)

    def seen(self, one: Scheduler) -> AnyRow:
        row = one.ledger.read(lambda connection: ticks.moves.get_schedule(connection, "acme", "digest"))
        assert row is not None
        return row

    def test_an_owed_tick_is_no_work_while_the_last_workflow_is_open(self, one: Scheduler) -> None:
        self.owe(one)
        assert not one.has_work()
        one.end(one.started()[0].id)
        assert one.has_work()

    def test_an_owed_tick_that_another_process_took_does_not_begin_again(self, one: Scheduler) -> None:
        seen = self.owe(one)
        assert not ticks._pass_owed(one.ledger, seen, ticks.graph_of, None)
        one.end(one.started()[0].id)
        assert ticks._pass_owed(one.ledger, seen, ticks.graph_of, None)
        assert not ticks._pass_owed(one.ledger, seen, ticks.graph_of, None)
        assert len(one.started()) == 2

    def test_a_trigger_between_look_and_start_is_seen(self, one: Scheduler) -> None:
        one.declare()
        one.go_back(90)
        seen = self.seen(one)
        one.ledger.write(lambda tx: ticks_by_hand.trigger(tx, "acme", "digest", **action()))
        assert ticks.pass_due(one.ledger, seen, ticks.graph_of, None)
        assert len(one.started()) == 1
        assert one.schedule().skipped == 1

    def test_cancel_ends_the_open_workflow_with_a_reason(self, one: Scheduler) -> None:
        one.declare(every=1, overlap=Overlap.CANCEL)
        self.tick(one)
        (first,) = one.started()
        while len(one.started()) < 2:
            one.care()
        ended = one.workflow(first.id)
        assert ended.status == WorkflowStatus.CANCELLED
        assert ended.reason == "the next tick of schedule 'digest' came"

    def test_a_cancelled_workflow_does_not_hold_back_the_next_tick(self, one: Scheduler) -> None:
        one.declare(every=1)
        self.tick(one)
        (first,) = one.started()
        one.ledger.write(lambda tx: cancels.cancel(tx, first.id, **WHO))
        while len(one.started()) < 2:
            one.care()


class TestPauses:
    def pause(self, one: Scheduler, until: datetime | float | None = None) -> None:
        one.ledger.write(lambda tx: schedules.pause(tx, "acme", "digest", until, **action()))

    def test_a_paused_schedule_starts_nothing_and_catches_up_when_it_goes_on(self, one: Scheduler) -> None:
        one.declare()
        self.pause(one)
        one.go_back(3 * MINUTE)
        assert not one.has_work()
        one.care()
        assert one.started() == []
        one.ledger.write(lambda tx: schedules.resume(tx, "acme", "digest", **action()))
        one.care()
        assert one.schedule().started == 1
        assert one.schedule().missed in (2, 3)
        assert changes(one) == [("create", "ana"), ("pause", "ana"), ("resume", "ana")]

    def test_a_pause_that_comes_between_look_and_start_holds(self, one: Scheduler) -> None:
        one.declare()
        one.go_back(90)
        seen = one.ledger.read(lambda connection: ticks.moves.get_schedule(connection, "acme", "digest"))
        assert seen is not None
        self.pause(one)
        assert not ticks.pass_due(one.ledger, seen, ticks.graph_of, None)
        assert one.started() == []

    def test_a_pause_ends_by_itself_at_its_time(self, one: Scheduler) -> None:
        one.declare()
        self.pause(one, one.now() + timedelta(hours=1))
        one.go_back(90)
        assert not one.has_work()
        over = update(ScheduleRow).values(paused_until=one.now() - timedelta(seconds=1))
        one.ledger.write(lambda tx: tx.connection.execute(over))
        assert one.has_work()
        one.care()
        assert len(one.started()) == 1
        assert changes(one)[-1] == ("resume", "agentq")

    def test_seconds_of_a_pause_count_from_now_by_the_ledgers_clock(self, one: Scheduler) -> None:
        one.declare()
        before = one.now()
        self.pause(one, 3600.0)
        until = one.schedule().paused_until
        assert before <= until - timedelta(hours=1) <= one.now()

    def test_a_pause_cannot_end_in_the_past(self, one: Scheduler) -> None:
        one.declare()
        with pytest.raises(InvalidArguments, match="by the ledger's clock"):
            self.pause(one, NOON)
        assert one.schedule().paused_at is None

    def test_a_schedule_that_is_not_paused_is_not_resumed(self, one: Scheduler) -> None:
        one.declare()
        with pytest.raises(StateConflict, match="not paused"):
            one.ledger.write(lambda tx: schedules.resume(tx, "acme", "digest", **action()))

    def test_a_schedule_that_cannot_be_started_is_paused_and_newer_code_lets_it_go_on(
        self, one: Scheduler
    ) -> None:
        one.declare()
        assert one.ledger.write(lambda tx: schedules.pause_unfit(tx, "acme", "digest", "no such step"))
        assert one.schedule().pause_reason == "no such step"
        one.declare(canvas=add.s(3, 4))
        assert one.schedule().paused_at is None
        self.pause(one)
        one.declare()
        assert one.schedule().paused_by == "ana"

    @pytest.mark.parametrize(
        ("values", "words"),
        [
            ({"canvas": '{"nodes":[{"kind":"dream","step":"x"}],"last":0}'}, "newer release"),
            ({"canvas": "{}"}, "nodes"),
            ({"every": None, "cron": "a new * * way"}, "Bad minute"),
            ({"every": None, "cron": "0 * * * *", "timezone": "Mars/Base"}, "no time zone 'Mars/Base'"),
        ],
    )
    def test_one_schedule_that_cannot_be_read_leaves_the_others_to_go_on(
        self, one: Scheduler, values: dict[str, Any], words: str
    ) -> None:
        one.declare("broken")
        one.declare()
        one.go_back(90, "broken")
        broken = update(ScheduleRow).where(ScheduleRow.name == "broken").values(values)
        one.ledger.write(lambda tx: tx.connection.execute(broken))
        one.go_back(90)
        one.care()
        assert len(one.started()) == 1
        ((name, error),) = one.unfit
        assert name == "broken"
        assert words in str(error)

    def test_schedules_that_cannot_be_read_take_no_place_from_the_others(
        self, one: Scheduler, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(ticks, "MOST_AT_ONCE", 1)
        one.declare("broken")
        one.declare()
        one.go_back(600, "broken")
        one.go_back(90)
        broken = update(ScheduleRow).where(ScheduleRow.name == "broken").values(canvas="{}")
        one.ledger.write(lambda tx: tx.connection.execute(broken))
        one.care()
        one.care()
        assert [name for name, _ in one.unfit] == ["broken"]
        assert len(one.started()) == 1
