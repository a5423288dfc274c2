"""Starts over a cap that are postponed: written, blocked, and let in when there is room for them."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from celery import group
from sqlalchemy import insert, select, update

from agentq import each
from agentq.exceptions import BacklogFull, StateConflict
from agentq.ledger import cancels, dead_letters, queue_moves, starts, tenants
from agentq.ledger.caretaking import expiry
from agentq.ledger.caretaking.work import Work, find_work
from agentq.ledger.db.session import Ledger
from agentq.ledger.db.types import seconds_from_now
from agentq.ledger.models import JobRow, LimitRow, WorkflowRow
from agentq.ledger.transaction import Transaction
from agentq.operations import jobs, pruning, why
from agentq.operations import tenants as operations
from agentq.operations.jobs import JobFilter
from agentq.states import JobKind, JobStatus, OnFull, WorkflowStatus
from tests.ledger.postponing import BLOCKED, LINE, WHO, Postponing, draw, lossy, postponing, render
from tests.support.fake_worker import Started, graph_of, started
from tests.support.steps import add, numbers, total


@pytest.fixture
def one(ledger: Ledger) -> Iterator[Postponing]:
    with postponing(ledger) as client:
        yield client


class TestPostponement:
    def test_a_start_over_the_cap_is_written_and_waits_without_a_message(self, one: Postponing) -> None:
        first = one.postpone()
        assert first.is_new
        assert len(first.dispatches) == 1
        second = one.postpone()
        assert second.is_new
        assert (second.dispatches, one.sent) == ((), [])
        assert one.statuses(second) == [BLOCKED]
        workflow = one.workflow(second.workflow_id)
        assert (workflow.status, workflow.postponed_on) == (WorkflowStatus.RUNNING, LINE)
        shown = operations.get(one.ledger, "acme")
        assert (shown.open, shown.postponed) == (1, 1)

    def test_the_end_of_a_workflow_lets_the_next_one_in_and_no_more(self, one: Postponing) -> None:
        first, second, third = one.postpone(), one.postpone(), one.postpone()
        one.run(*first.dispatches)
        assert [job.job_id for job in one.sent] == [one.jobs(second.workflow_id)[0].id]
        assert one.statuses(second) == [(JobStatus.QUEUED, None)]
        assert one.is_postponed(third)
        one.run(*one.sent)
        assert one.workflow(second.workflow_id).status == WorkflowStatus.SUCCEEDED
        assert not one.is_postponed(third)

    @pytest.mark.parametrize("end", ["fail", "cancel"])
    def test_every_end_lets_the_next_one_in(self, one: Postponing, end: str) -> None:
        first, second = one.postpone(), one.postpone()
        if end == "fail":
            one.fail(one.take(*first.dispatches))
        else:
            one.ledger.write(lambda tx: cancels.cancel(tx, first.workflow_id, **WHO))
        assert not one.is_postponed(second)

    @pytest.mark.parametrize("end", ["succeed", "fail", "cancel"])
    def test_an_end_lets_in_the_next_one_of_its_own_tenant_alone(self, one: Postponing, end: str) -> None:
        one.postpone()
        theirs = one.postpone()
        one.ledger.write(lambda tx: tenants.set_max_open(tx, "calm", 1, action_id=uuid.uuid4(), **WHO))
        first, second = one.postpone(tenant="calm"), one.postpone(tenant="calm")
        if end == "succeed":
            one.run(*first.dispatches)
        elif end == "fail":
            one.fail(one.take(*first.dispatches))
        else:
            one.ledger.write(lambda tx: cancels.cancel(tx, first.workflow_id, **WHO))
        assert (one.is_postponed(second), one.is_postponed(theirs)) == (False, True)

    def test_an_end_that_did_not_see_the_postponement_is_made_good_by_a_caretaker(self, one: Postponing) -> None:
        first, second = one.postpone(), one.postpone()
        one.ledger.publish = None  # so nothing follows the commit
        one.run(*first.dispatches)
        assert one.is_postponed(second)
        found = one.ledger.read(lambda connection: find_work(connection, one.worker_id, 10))
        assert Work.POSTPONED in found
        one.care()
        assert not one.is_postponed(second)
        assert [job.workflow_id for job in one.due()] == [second.workflow_id]
        found = one.ledger.read(lambda connection: find_work(connection, one.worker_id, 10))
        assert Work.POSTPONED not in found

    def test_a_postponement_looks_for_room_once_it_is_committed(self, one: Postponing) -> None:
        first = one.postpone()
        with one.ledger.engine.connect() as connection, connection.begin():
            tx = Transaction(connection)
            second = started(tx, graph_of(add.s(1, 2)), tenant="acme", key=None, on_full=OnFull.POSTPONE)
            if one.ledger.is_postgresql:  # which has a writer beside this one, that does not see it
                one.run(*first.dispatches)
                assert one.sent == []
        if not one.ledger.is_postgresql:
            one.run(*first.dispatches)
        one.ledger.follow(tx, one.sent.extend, lambda work: work())
        assert not one.is_postponed(second)

    def test_workflows_are_let_in_as_they_were_started_and_no_start_overtakes_them(self, one: Postponing) -> None:
        first, *others = [one.postpone() for _ in range(4)]
        one.cap(0)
        one.run(*first.dispatches)
        assert all(map(one.is_postponed, others))
        one.ledger.publish = None
        one.cap(2)
        with pytest.raises(BacklogFull):
            one.start(add.s(1, 2))
        late = one.postpone()
        one.care()
        assert [one.is_postponed(each_) for each_ in [*others, late]] == [False, False, True, True]

    @pytest.mark.parametrize("most", [3, None])
    def test_a_cap_that_is_raised_or_cleared_lets_in_as_many_as_there_is_room_for(
        self, one: Postponing, most: int | None
    ) -> None:
        started_ = [one.postpone() for _ in range(5)]
        one.cap(most)
        room = 5 if most is None else most
        assert [one.is_postponed(each_) for each_ in started_] == [False] * room + [True] * (5 - room)

    def test_the_cap_of_code_holds_for_what_it_has_postponed(self, one: Postponing) -> None:
        one.cap(None)
        first, second, third = [one.postpone(max_open=1) for _ in range(3)]
        one.run(*first.dispatches)
        assert [one.is_postponed(each_) for each_ in (second, third)] == [False, True]

    def test_what_comes_in_beside_another_one_keeps_its_own_cap_of_code(self, one: Postponing) -> None:
        one.cap(None)
        *begun, third, fourth = [one.postpone(max_open=most) for most in (2, 2, 2, 1)]
        one.ledger.publish = None
        one.run(*(dispatch for each_ in begun for dispatch in each_.dispatches))
        one.care()
        assert [one.is_postponed(each_) for each_ in (third, fourth)] == [False, True]

    def test_many_are_postponed_together_and_let_in_as_far_as_there_is_room(self, one: Postponing) -> None:
        one.cap(3)
        plans = [starts.plan(graph_of(add.s(1, 2)), tenant="acme", key=None) for _ in range(5)]
        new = one.ledger.write(lambda tx: starts.start_all(tx, plans, on_full=OnFull.POSTPONE))
        assert all(each_.is_new for each_ in new)
        assert [one.workflow(each_.workflow_id).postponed_on for each_ in new] == [None] * 3 + [LINE] * 2
        assert len(one.sent) == 3

    def test_a_start_with_a_known_key_or_a_lost_reply_finds_its_workflow(self, one: Postponing) -> None:
        one.postpone()
        plan = starts.plan(graph_of(add.s(1, 2)), tenant="acme", key="k")
        first, again = (
            one.ledger.write(lambda tx: starts.start_all(tx, [plan], on_full=OnFull.POSTPONE))[0] for _ in range(2)
        )
        assert first == again
        known = one.postpone(key="k")
        assert (known.workflow_id, known.is_new) == (first.workflow_id, False)
        assert one.sent == []

    def test_other_tenants_are_not_held_back(self, one: Postponing) -> None:
        one.postpone()
        one.postpone()
        assert one.postpone(tenant="globex").dispatches


class TestCanvases:
    """What is postponed runs as what began at once."""

    def through(self, one: Postponing, canvas: Any) -> Started:
        """Defer a canvas, let it in and run it to its end."""
        first, second = one.postpone(), one.postpone(canvas)
        assert one.is_postponed(second)
        assert second.dispatches == ()
        one.run(*first.dispatches)
        one.run(*one.sent)
        assert one.workflow(second.workflow_id).status == WorkflowStatus.SUCCEEDED
        return second

    @pytest.mark.parametrize(
        ("canvas", "result"),
        [
            (lambda: add.s(1, 2) | add.s(3), 6),
            (lambda: group(add.s(1, 2), add.s(3, 4)), [3, 7]),
            (lambda: group(add.s(1, 2), add.s(3, 4)) | total.s(), 10),
            (lambda: numbers.s(3) | each(add.s(1)) | total.s(), 6),
            (lambda: group([]) | total.s(), 0),
            (lambda: draw.s(7), 7),
        ],
        ids=["chain", "group", "chord", "each", "empty", "limited"],
    )
    def test_a_canvas_runs_to_its_result(self, one: Postponing, canvas: Callable[[], Any], result: Any) -> None:
        assert one.result(self.through(one, canvas()).workflow_id) == result

    def test_a_time_that_is_to_come_holds_after_the_postponement(self, one: Postponing) -> None:
        first, later = one.postpone(), one.postpone(add.s(1, 2).set(eta=datetime.now(UTC) + timedelta(hours=1)))
        soon = one.postpone(add.s(1, 2).set(countdown=3600))
        assert one.statuses(later) == one.statuses(soon) == [BLOCKED]
        one.cap(None)
        assert one.statuses(later) == one.statuses(soon) == [(JobStatus.SCHEDULED, None)]
        assert one.sent == []
        assert first.is_new

    def test_a_cancel_and_a_deadline_end_it_and_leave_the_line_to_the_next(self, one: Postponing) -> None:
        first, cancelled, late, expired, last = (
            *(one.postpone(), one.postpone(), one.postpone(deadline=60.0)),
            *(one.postpone(add.s(1, 2).set(expires=60)), one.postpone()),
        )
        one.ledger.write(lambda tx: cancels.cancel(tx, cancelled.workflow_id, **WHO))
        for row, column in ((WorkflowRow, "deadline_at"), (JobRow, "expires_at")):
            past = update(row).where(getattr(row, column).is_not(None)).values({column: seconds_from_now(-1)})
            one.ledger.write(lambda tx, past=past: tx.connection.execute(past))
        one.ledger.write(lambda tx: expiry.cancel_overdue(tx, 10))
        one.ledger.write(lambda tx: expiry.expire(tx, 10))
        ended = [one.workflow(each_.workflow_id).status for each_ in (cancelled, late, expired)]
        assert ended == [WorkflowStatus.CANCELLED] * 3
        one.run(*first.dispatches)
        assert not one.is_postponed(last)

    def test_a_job_that_is_moved_to_another_queue_waits_on(self, one: Postponing) -> None:
        ordered = insert(LimitRow).values(name="queue:other", declared=1)
        one.ledger.write(lambda tx: tx.connection.execute(ordered))
        first, second = one.postpone(), one.postpone(draw.s())
        (job,) = one.jobs(second.workflow_id)
        assert one.ledger.write(lambda tx: queue_moves.move_job(tx, job.id, "other", **WHO)) is None
        assert one.statuses(second) == [BLOCKED]
        one.run(*first.dispatches)
        assert [sent.queue for sent in one.sent] == ["other"]

    def test_what_is_postponed_is_not_pruned(self, one: Postponing) -> None:
        _, second = one.postpone(), one.postpone()
        past = update(WorkflowRow).values(created_at=seconds_from_now(-1e6))
        one.ledger.write(lambda tx: tx.connection.execute(past))
        assert pruning.prune(one.ledger, older_than=1.0).workflows == 0
        assert one.is_postponed(second)


class TestLostMembers:
    """Members that end before the let-in: their fan-in decides once the workflow is let in, and not before."""

    def cancel(self, one: Postponing, of: Started) -> None:
        """Cancel the first jobs of a workflow, one by one."""
        for job in one.jobs(of.workflow_id):
            if (job.status, job.blocked_by) == BLOCKED:
                one.ledger.write(lambda tx, job=job: cancels.cancel_job(tx, job.id, **WHO))

    def expire(self, one: Postponing, of: Started) -> None:
        """Let the first jobs of a workflow expire."""
        for job in one.jobs(of.workflow_id):
            if (job.status, job.blocked_by) == BLOCKED:
                one.age(job.id, expires_at=1)
        one.ledger.write(lambda tx: expiry.expire(tx, 10))

    def run_out(self, one: Postponing, of: Started) -> None:
        """Cancel one member, and let the time of the fan-in end that it waits for the others."""
        job, *_ = one.jobs(of.workflow_id)
        one.ledger.write(lambda tx: cancels.cancel_job(tx, job.id, **WHO))
        (fan_in,) = [job for job in one.jobs(of.workflow_id) if job.kind == JobKind.JOIN]
        one.age(fan_in.id, deadline_at=1)
        one.ledger.write(lambda tx: expiry.end_overdue(tx, 10))

    @pytest.mark.parametrize("lose", [cancel, expire, run_out])
    def test_a_fan_in_that_goes_on_without_members_goes_on_when_its_workflow_is_let_in(
        self, one: Postponing, lose: Callable[[Any, Postponing, Started], None]
    ) -> None:
        first, second = one.postpone(), one.postpone(lossy(needs=0))
        lose(self, one, second)
        assert [status for status, _ in one.statuses(second)] == ["cancelled", "cancelled", "waiting", "waiting"]
        assert (one.is_postponed(second), one.sent) == (True, [])
        one.run(*first.dispatches)
        (dispatch,) = one.sent
        assert one.run(dispatch) == 1
        assert one.workflow(second.workflow_id).status == WorkflowStatus.SUCCEEDED
        assert one.result(second.workflow_id) == 0

    def test_a_fan_in_inside_a_member_waits_for_the_let_in_too(self, one: Postponing) -> None:
        inner = group(add.s(1, 2), add.s(3, 4)) | total.s().set(needs=0)
        first, second = one.postpone(), one.postpone(group(inner, add.s(5, 6)) | total.s().set(needs="any"))
        self.cancel(one, second)
        assert (one.is_postponed(second), one.sent) == (True, [])
        one.run(*first.dispatches)
        one.run(*one.sent)
        assert one.result(second.workflow_id) == 0

    def test_a_fan_in_that_needs_its_members_fails_when_it_is_let_in_and_leaves_its_place_to_the_next(
        self, one: Postponing
    ) -> None:
        first, second, third = one.postpone(), one.postpone(lossy(needs="any")), one.postpone()
        self.cancel(one, second)
        fan_in = one.jobs(second.workflow_id)[2]
        for decide in (dead_letters.replay, dead_letters.go_on):
            with pytest.raises(StateConflict, match="must be dead"):
                one.ledger.write(lambda tx, decide=decide: decide(tx, fan_in.id, **WHO))
        assert one.workflow(second.workflow_id).status == WorkflowStatus.RUNNING
        one.run(*first.dispatches)
        assert one.workflow(second.workflow_id).status == WorkflowStatus.FAILED
        assert [one.is_postponed(each_) for each_ in (second, third)] == [False, False]
        one.ledger.write(lambda tx: dead_letters.replay(tx, fan_in.id, **WHO))
        shown = operations.get(one.ledger, "acme")
        assert (shown.open, shown.postponed) == (2, 0)  # a replay is never refused, and counts
        assert [job.blocked_by for job in one.jobs(second.workflow_id)] == [None] * 4
        one.run(*one.due())
        assert one.result(second.workflow_id) == 10

    def test_why_says_the_cap_where_no_first_job_is_left(self, one: Postponing) -> None:
        _, second = one.postpone(), one.postpone(lossy(needs=0))
        self.cancel(one, second)
        fan_in, last = one.jobs(second.workflow_id)[2:]
        for why_of, job in (
            (why.of_workflow(one.ledger, str(second.workflow_id)), last),
            (why.of_job(one.ledger, str(fan_in.id)), fan_in),
        ):
            (reason,) = why_of.reasons
            assert (reason.job_id, reason.name) == (job.id, "backlog")
            assert reason.waiting_for == "backlog of acme: 1 of 1 open, 1st"


class TestEnds:
    """A postponed workflow that ends before it is let in leaves its line, and nothing behind."""

    @pytest.mark.parametrize("canvas", [lambda: group(add.s(1, 2), add.s(3, 4)) | total.s(), lambda: add.s(1, 2)])
    @pytest.mark.parametrize("by", ["cancel", "jobs", "expiry", "deadline"])
    def test_the_line_moves_on(self, one: Postponing, canvas: Callable[[], Any], by: str) -> None:
        first, second, third = one.postpone(), one.postpone(canvas(), deadline=60), one.postpone()
        jobs_ = [job for job in one.jobs(second.workflow_id) if job.blocked_by is not None]
        match by:
            case "cancel":
                one.ledger.write(lambda tx: cancels.cancel(tx, second.workflow_id, **WHO))
            case "jobs":
                for job in jobs_:
                    one.ledger.write(lambda tx, job=job: cancels.cancel_job(tx, job.id, **WHO))
            case "expiry":
                for job in jobs_:
                    one.age(job.id, expires_at=1)
                one.ledger.write(lambda tx: expiry.expire(tx, 10))
            case "deadline":
                past = update(WorkflowRow).where(WorkflowRow.id == second.workflow_id)
                past = past.values(deadline_at=seconds_from_now(-1))
                one.ledger.write(lambda tx: tx.connection.execute(past))
                one.ledger.write(lambda tx: expiry.cancel_overdue(tx, 10))
        assert one.workflow(second.workflow_id).status == WorkflowStatus.CANCELLED
        assert {status for status, _ in one.statuses(second)} == {JobStatus.CANCELLED}
        assert one.sent == []
        shown = operations.get(one.ledger, "acme")
        assert (shown.open, shown.postponed) == (1, 1)
        reason = why.of_workflow(one.ledger, str(third.workflow_id)).reasons[0]
        assert reason.waiting_for.endswith("1st")
        one.run(*first.dispatches)
        one.run(*one.sent)
        assert one.workflow(third.workflow_id).status == WorkflowStatus.SUCCEEDED
        assert pruning.prune(one.ledger, older_than=0.0).workflows == 3


class TestWords:
    def test_why_says_the_cap_and_the_place(self, one: Postponing) -> None:
        _, _, third = [one.postpone() for _ in range(3)]
        (reason,) = why.of_workflow(one.ledger, str(third.workflow_id)).reasons
        assert (reason.name, reason.waiting_for) == ("backlog", "backlog of acme: 1 of 1 open, 2nd")
        assert reason.ends.endswith("agentq tenants show acme")

    def test_why_says_the_backlog_of_a_step(self, one: Postponing) -> None:
        one.cap(None)
        last = [one.postpone(render.s()) for _ in range(3)][-1]
        (reason,) = why.of_workflow(one.ledger, str(last.workflow_id)).reasons
        assert reason.waiting_for == f"backlog of {render.name}: 2 of 2 wait, 1st"

    def test_jobs_are_listed_by_the_line_that_they_wait_in(self, one: Postponing) -> None:
        _, second = one.postpone(), one.postpone()
        (listed,) = jobs.list_(one.ledger, JobFilter(waiting_for=LINE))
        assert listed.workflow_id == second.workflow_id
        assert listed.waiting_for == "backlog of acme: 1 of 1 open, 1st"
        assert jobs.list_(one.ledger, JobFilter(waiting_for="max_open:globex")) == []


def test_a_refusal_writes_no_postponement(one: Postponing) -> None:
    one.postpone()
    with pytest.raises(BacklogFull):
        one.start(add.s(1, 2))
    postponed = select(WorkflowRow.id).where(WorkflowRow.postponed_on.is_not(None))
    assert one.ledger.read(lambda connection: connection.scalars(postponed).all()) == []
