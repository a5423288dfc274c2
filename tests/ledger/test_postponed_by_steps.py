"""Starts that are postponed for the backlog of a step: all caps hold when they are let in."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from agentq.ledger.db.session import Ledger
from agentq.ledger.records import Dispatch
from agentq.states import JobStatus
from tests.ledger.postponing import BLOCKED, LINE, STEP_LINE, Postponing, paint, postponing, render
from tests.support.steps import add


@pytest.fixture
def one(ledger: Ledger) -> Iterator[Postponing]:
    with postponing(ledger) as client:
        yield client


class TestBacklogOfAStep:
    def test_a_start_over_the_backlog_of_its_step_waits_until_fewer_jobs_do(self, one: Postponing) -> None:
        one.cap(None)
        first, _, third, fourth = [one.postpone(render.s()) for _ in range(4)]
        assert [one.workflow(each_.workflow_id).postponed_on for each_ in (third, fourth)] == [
            f"max_backlog:{render.name}"
        ] * 2
        one.care()
        assert one.statuses(third) == [BLOCKED]
        one.take(*first.dispatches)
        one.care()
        assert one.statuses(third) == [(JobStatus.QUEUED, None)]
        assert one.statuses(fourth) == [BLOCKED]

    def test_one_that_comes_from_the_line_of_a_step_needs_room_of_its_tenant_too(self, one: Postponing) -> None:
        one.cap(2)
        first, second, third = [one.postpone(render.s()) for _ in range(3)]
        one.take(*first.dispatches)
        one.care()
        assert one.workflow(third.workflow_id).postponed_on == LINE
        one.run(*second.dispatches)
        assert not one.is_postponed(third)

    def fill(self, one: Postponing) -> tuple[Dispatch, Dispatch]:
        """Let as many jobs of the step wait as may, of another tenant."""
        first, second = (one.postpone(render.s(), tenant="globex") for _ in range(2))
        return (*first.dispatches, *second.dispatches)

    def test_one_that_comes_from_the_line_of_its_tenant_needs_room_of_its_step_too(self, one: Postponing) -> None:
        first, second = one.postpone(), one.postpone(add.s(1, 2) | render.si())
        assert one.workflow(second.workflow_id).postponed_on == LINE
        waiting, _ = self.fill(one)
        third = one.postpone()
        one.run(*first.dispatches)
        assert one.workflow(second.workflow_id).postponed_on == STEP_LINE
        assert not one.is_postponed(third)  # which has no such step
        one.take(waiting)
        one.care()
        assert one.workflow(second.workflow_id).postponed_on == LINE
        one.run(*one.sent)
        assert not one.is_postponed(second)

    def test_one_that_went_from_the_line_of_its_step_to_that_of_its_tenant_needs_room_of_both(
        self, one: Postponing
    ) -> None:
        one.cap(2)
        first, second, third = [one.postpone(render.s()) for _ in range(3)]
        one.take(*first.dispatches)
        last = one.take(*second.dispatches)
        one.care()
        assert one.workflow(third.workflow_id).postponed_on == LINE
        waiting, _ = self.fill(one)
        one.succeed(last, 0)
        workflow = one.workflow(third.workflow_id)
        assert (workflow.postponed_on, workflow.max_backlog) == (STEP_LINE, 2)
        one.take(waiting)
        one.care()
        assert not one.is_postponed(third)

    def test_each_step_with_a_cap_needs_room(self, one: Postponing) -> None:
        one.cap(None)
        paints = [one.postpone(paint.s()) for _ in range(2)]
        waiting, _ = self.fill(one)
        both = one.postpone(render.s() | paint.s())
        lines = [f"max_backlog:{step.name}" for step in (paint, render)]
        assert one.workflow(both.workflow_id).postponed_on == lines[0]
        one.take(*paints[0].dispatches)
        one.care()
        assert one.workflow(both.workflow_id).postponed_on == lines[1]
        one.take(waiting)
        one.care()
        assert not one.is_postponed(both)

    def test_younger_ones_in_another_line_do_not_hold_up_an_older_one(self, one: Postponing) -> None:
        first, oldest, younger = one.postpone(), one.postpone(render.s()), one.postpone()
        waiting, _ = self.fill(one)
        theirs = one.postpone(render.s(), tenant="globex")
        assert one.workflow(theirs.workflow_id).postponed_on == STEP_LINE
        one.take(waiting)  # and no caretaker has seen it
        one.run(*first.dispatches)
        postponed_ = [one.is_postponed(each_) for each_ in (oldest, younger, theirs)]
        assert postponed_ == [False, True, True]

    def test_older_ones_in_another_line_come_first(self, one: Postponing) -> None:
        blocking = one.postpone(tenant="initech", max_open=1)
        first, theirs = one.postpone(), one.postpone(render.s(), tenant="initech", max_open=1)
        mine = one.postpone(render.s())
        waiting, _ = self.fill(one)
        one.run(*blocking.dispatches)
        lines = [one.workflow(each_.workflow_id).postponed_on for each_ in (theirs, mine)]
        assert lines == [STEP_LINE, LINE]
        one.take(waiting)  # and no caretaker has seen it
        one.run(*first.dispatches)
        assert [one.is_postponed(each_) for each_ in (theirs, mine)] == [False, True]
        assert one.workflow(mine.workflow_id).postponed_on == STEP_LINE
