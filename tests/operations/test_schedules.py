"""Operators look at schedules, pause them, and ask for ticks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from agentq.exceptions import InvalidArguments, NotFound, StateConflict
from agentq.ledger.db.session import Ledger
from agentq.operations import schedules
from agentq.states import JobStatus, Overlap
from tests.support.scheduled import Scheduler

WHY = "holidays"


@pytest.fixture
def one(ledger: Ledger) -> Scheduler:
    """A caretaker of schedules."""
    return Scheduler(ledger)


def test_a_schedule_is_shown_with_its_times_its_next_ticks_and_its_history(one: Scheduler) -> None:
    one.declare(cron="30 2 * * *", timezone="Europe/Berlin")
    schedules.pause(one.ledger, "digest", reason=WHY, actor="ana")
    found = schedules.get(one.ledger, "digest")
    assert (found.name, found.tenant, found.canvas, found.cron) == ("digest", "acme", "add", "30 2 * * *")
    assert found.pause is not None
    assert (found.pause.actor, found.pause.reason, found.pause.until) == ("ana", WHY, None)
    assert found.coming[0] == found.next_at
    assert len(found.coming) == schedules.MOST_COMING
    assert [change.action for change in found.changes] == ["pause", "create"]
    assert schedules.list_(one.ledger)[0].model_dump() == found.model_dump(exclude={"coming", "changes"})


def test_a_name_that_several_tenants_have_needs_the_tenant(one: Scheduler) -> None:
    one.declare()
    one.declare(tenant="calm")
    with pytest.raises(NotFound, match="'acme', 'calm'"):
        schedules.get(one.ledger, "digest")
    assert schedules.get(one.ledger, "digest", tenant="calm").tenant == "calm"
    assert [found.tenant for found in schedules.list_(one.ledger, tenant="calm")] == ["calm"]
    with pytest.raises(NotFound, match="Did you mean 'digest'"):
        schedules.get(one.ledger, "digset")


def test_a_pause_needs_a_reason_and_an_end_with_a_zone(one: Scheduler) -> None:
    one.declare()
    with pytest.raises(InvalidArguments, match="a reason is needed"):
        schedules.pause(one.ledger, "digest", reason=" ")
    with pytest.raises(InvalidArguments, match="time zone"):
        schedules.pause(one.ledger, "digest", reason=WHY, until=datetime(2099, 1, 1))
    with pytest.raises(InvalidArguments, match="seconds from now"):
        schedules.pause(one.ledger, "digest", reason=WHY, until=float("inf"))
    schedules.pause(one.ledger, "digest", reason=WHY, until=datetime(2099, 1, 1, tzinfo=UTC))
    assert schedules.resume(one.ledger, "digest").pause is None


class TestTrigger:
    def test_it_starts_the_workflow_now_also_while_the_schedule_is_paused(self, one: Scheduler) -> None:
        one.declare()
        schedules.pause(one.ledger, "digest", reason=WHY)
        done = schedules.trigger(one.ledger, "digest", reason="a look")
        (workflow,) = one.started()
        assert workflow.id == done.workflow_id == one.schedule().last_workflow_id
        assert one.jobs(workflow.id)[0].status == JobStatus.SCHEDULED  # a caretaker publishes it
        assert schedules.get(one.ledger, "digest").changes[0].action == "trigger"

    def test_it_is_refused_while_a_workflow_is_open_that_lets_no_other_begin(self, one: Scheduler) -> None:
        one.declare()
        schedules.trigger(one.ledger, "digest")
        with pytest.raises(StateConflict, match="busy with workflow"):
            schedules.trigger(one.ledger, "digest")
        assert len(one.started()) == 1

    def test_it_is_owed_where_the_schedule_queues(self, one: Scheduler) -> None:
        one.declare(overlap=Overlap.QUEUE)
        first = schedules.trigger(one.ledger, "digest").workflow_id
        assert schedules.trigger(one.ledger, "digest").workflow_id is None
        assert first is not None
        one.end(first)
        one.care()
        assert len(one.started()) == 2


class TestBackfill:
    def fill(self, one: Scheduler, hours: int, **options: int) -> tuple[int, int]:
        last = one.now()
        done = schedules.backfill(one.ledger, "digest", last - timedelta(hours=hours), last, **options)
        return len(done.ticks), done.started

    def test_each_tick_that_has_no_workflow_gets_one(self, one: Scheduler) -> None:
        one.declare(every=3600)
        assert self.fill(one, 5) == (5, 5)
        assert self.fill(one, 7)[1] == 2
        assert len(one.started()) == 7

    def test_more_ticks_than_may_be_are_refused_and_nothing_is_started(self, one: Scheduler) -> None:
        one.declare(every=60)
        with pytest.raises(InvalidArguments, match="more than 100 ticks"):
            self.fill(one, 2)
        assert one.started() == []
        assert self.fill(one, 2, most=130)[1] in (120, 121)

    def test_ticks_to_come_are_refused(self, one: Scheduler) -> None:
        one.declare()
        with pytest.raises(InvalidArguments, match="by the ledger's clock"):
            schedules.backfill(one.ledger, "digest", one.now(), one.now() + timedelta(days=1))
        with pytest.raises(InvalidArguments, match="before the last"):
            schedules.backfill(one.ledger, "digest", one.now(), one.now() - timedelta(days=1))
        with pytest.raises(InvalidArguments, match="from 1 to 1000"):
            self.fill(one, 1, most=1001)


def test_a_removed_schedule_starts_nothing_and_leaves_its_workflows(one: Scheduler) -> None:
    one.declare()
    schedules.trigger(one.ledger, "digest")
    assert schedules.remove(one.ledger, "digest", reason="not needed").name == "digest"
    assert len(one.started()) == 1
    with pytest.raises(NotFound):
        schedules.get(one.ledger, "digest")
