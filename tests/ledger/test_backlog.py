"""Caps on every ledger: a start that would open more workflows, or add to more jobs that wait, than may be."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

import pytest
from celery import group
from sqlalchemy import update

from agentq import Concurrency, each, step
from agentq.exceptions import BacklogFull
from agentq.ledger import starts, tenants
from agentq.ledger.db.types import seconds_from_now
from agentq.ledger.models import JobRow, WorkflowRow
from agentq.ledger.queries.tenants import open_of
from agentq.ledger.transaction import Transaction
from agentq.operations import limits
from tests.support.fake_worker import FakeWorker, graph_of, started
from tests.support.steps import add, numbers

MOST = 3
WHO = {"actor": "ana", "reason": "a trial"}


@step(max_backlog=MOST)
def render(page: int = 0) -> int:
    """A step of which few jobs may wait."""
    return page


@step(max_backlog=MOST, limits=[Concurrency("pen", limit=1)])
def draw(page: int = 0) -> int:
    """A step of which few jobs may wait, also in the line of a limit."""
    return page


def cap(fake: FakeWorker, most: int | None, tenant: str = "acme") -> None:
    fake.ledger.write(lambda tx: tenants.set_max_open(tx, tenant, most, action_id=uuid.uuid4(), **WHO))


def start_many(fake: FakeWorker, count: int, canvas: Any = None, keys: Sequence[str] = (), **caps: Any) -> int:
    """Start workflows in one transaction; returns how many are new."""
    canvas = add.s(1, 2) if canvas is None else canvas
    plans = [
        starts.plan(graph_of(canvas), tenant="acme", key=keys[place] if keys else None) for place in range(count)
    ]
    return sum(one.is_new for one in fake.ledger.write(lambda tx: starts.start_all(tx, plans, **caps)))


def opened(fake: FakeWorker, tenant: str = "acme") -> int:
    return int(fake.ledger.read(lambda connection: open_of(connection, tenant)).counted)


def age_all(fake: FakeWorker, row: Any, seconds: float) -> None:
    """Let all rows be that old, and the last one new."""
    fake.ledger.write(lambda tx: tx.connection.execute(update(row).values(created_at=seconds_from_now(-seconds))))


class TestOpenWorkflows:
    def test_a_start_over_the_cap_is_refused_and_writes_nothing(self, fake: FakeWorker) -> None:
        cap(fake, 2)
        first, _ = fake.start(add.s(1, 2)), fake.start(add.s(1, 2))
        age_all(fake, WorkflowRow, 120)
        with pytest.raises(BacklogFull) as refused:
            fake.start(add.s(1, 2))
        error = refused.value
        assert (error.cap, error.of, error.most, error.count) == ("max_open", "acme", 2, 2)
        assert 120 <= error.oldest < 180
        assert error.retry_after == pytest.approx(error.oldest / 10)
        for part in ("'acme' has 2 open workflows", "max_open is 2", "Nothing was started", "try again in 12 s"):
            assert part in str(error)
        assert opened(fake) == 2
        fake.run(*first.dispatches)
        assert fake.start(add.s(1, 2)).is_new

    def test_the_time_to_try_again_is_bounded(self, fake: FakeWorker) -> None:
        cap(fake, 1)
        fake.start(add.s(1, 2))
        for age, seconds in ((0, 1), (1e6, 60)):
            age_all(fake, WorkflowRow, age)
            with pytest.raises(BacklogFull) as refused:
                fake.start(add.s(1, 2))
            assert refused.value.retry_after == seconds

    def test_a_start_with_a_known_key_finds_its_workflow_behind_a_full_backlog(self, fake: FakeWorker) -> None:
        cap(fake, 1)
        first = fake.start(add.s(1, 2), key="k")
        again = fake.start(add.s(1, 2), key="k")
        assert (again.workflow_id, again.is_new) == (first.workflow_id, False)
        with pytest.raises(BacklogFull):
            fake.start(add.s(1, 2), key="other")

    def test_a_start_whose_commit_got_no_answer_finds_its_own_workflow(self, fake: FakeWorker) -> None:
        cap(fake, 1)
        plan = starts.plan(graph_of(add.s(1, 2)), tenant="acme", key=None)
        first, again = (fake.write(lambda tx: starts.start_all(tx, [plan]))[0] for _ in range(2))
        assert first == again

    def test_workflows_that_have_ended_and_those_of_other_tenants_are_not_counted(self, fake: FakeWorker) -> None:
        cap(fake, 1)
        fake.start(add.s(1, 2), tenant="globex")
        fake.fail(fake.begin(add.s(1, 2)))
        assert fake.start(add.s(1, 2)).is_new
        assert opened(fake) == 1

    def test_many_are_started_together_or_not_at_all(self, fake: FakeWorker) -> None:
        cap(fake, 12)
        assert start_many(fake, 2) == 2
        with pytest.raises(BacklogFull, match="this start needs room for 11"):
            start_many(fake, 11)
        assert opened(fake) == 2
        assert start_many(fake, 10) == 10
        with pytest.raises(BacklogFull, match="it needs more than there may be"):
            start_many(fake, 13)

    def test_more_than_one_statement_writes_are_started_together_or_not_at_all(
        self, fake: FakeWorker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(starts, "_MOST_WORKFLOWS", 2)
        cap(fake, 4)
        with fake.ledger.engine.connect() as connection, connection.begin():
            plans = [starts.plan(graph_of(add.s(1, 2)), tenant="acme", key=None) for _ in range(5)]
            with pytest.raises(BacklogFull):
                starts.start_all(Transaction(connection), plans)
        assert opened(fake) == 0
        assert start_many(fake, 4) == 4

    def test_of_many_only_those_that_are_new_need_room(self, fake: FakeWorker) -> None:
        cap(fake, 3)
        assert start_many(fake, 2, keys=["a", "b"]) == 2
        assert start_many(fake, 3, keys=["a", "b", "c"]) == 1
        with pytest.raises(BacklogFull, match="room for 1"):
            start_many(fake, 4, keys=["a", "b", "c", "d"])
        assert start_many(fake, 3, keys=["c", "a", "b"]) == 0

    def test_an_operator_stands_above_the_code(self, fake: FakeWorker) -> None:
        assert start_many(fake, 1, max_open=1) == 1
        with pytest.raises(BacklogFull, match="max_open is 1,"):
            start_many(fake, 1, max_open=1)
        cap(fake, 2)
        assert start_many(fake, 1, max_open=1) == 1
        with pytest.raises(BacklogFull, match="max_open is 2,"):
            start_many(fake, 1, max_open=1)
        cap(fake, None)
        assert start_many(fake, 1) == 1

    def test_a_cap_of_0_refuses_every_start(self, fake: FakeWorker) -> None:
        cap(fake, 0)
        with pytest.raises(BacklogFull, match="has 0 open workflows; max_open is 0"):
            fake.start(add.s(1, 2))

    def test_what_cannot_be_refused_is_started_and_counted(self, fake: FakeWorker) -> None:
        cap(fake, 1)
        for _ in range(2):
            assert fake.start(add.s(1, 2), on_full=None).is_new
        assert opened(fake) == 2
        with pytest.raises(BacklogFull):
            fake.start(add.s(1, 2))

    def test_a_start_in_a_transaction_of_the_caller_counts_what_that_wrote(self, fake: FakeWorker) -> None:
        cap(fake, 1)
        with fake.ledger.engine.connect() as connection, connection.begin():
            tx = Transaction(connection)
            started(tx, graph_of(add.s(1, 2)), tenant="acme", key=None)
            with pytest.raises(BacklogFull):
                started(tx, graph_of(add.s(1, 2)), tenant="acme", key=None)
        assert opened(fake) == 1


class TestJobsThatWait:
    def test_a_start_is_refused_where_as_many_jobs_of_its_step_wait_as_may(self, fake: FakeWorker) -> None:
        begun = [fake.start(render.s()) for _ in range(MOST)]
        age_all(fake, JobRow, 120)
        with pytest.raises(BacklogFull) as refused:
            fake.start(render.s())
        error = refused.value
        assert (error.cap, error.of, error.most, error.count) == ("max_backlog", render.name, MOST, MOST)
        assert error.retry_after == pytest.approx(error.oldest / 10)
        assert f"{MOST} jobs of '{render.name}' wait, the oldest for 120 s; max_backlog is {MOST}" in str(error)
        assert fake.start(add.s(1, 2)).is_new
        fake.take(*begun[0].dispatches)
        assert fake.start(render.s()).is_new

    def test_jobs_count_that_wait_for_a_worker_a_slot_or_their_time(self, fake: FakeWorker) -> None:
        for canvas in (draw.s(), draw.s(), draw.s().set(countdown=3600)):
            fake.start(canvas)
        with pytest.raises(BacklogFull):
            fake.start(draw.s())

    def test_jobs_do_not_count_before_those_ahead_of_them_are_done(self, fake: FakeWorker) -> None:
        first, *_ = [fake.start(add.s(1, 2) | render.si()) for _ in range(MOST + 1)]
        assert fake.start(render.s()).is_new
        for _ in range(MOST - 1):
            fake.start(render.s())
        with pytest.raises(BacklogFull):
            fake.start(add.s(1, 2) | render.si())
        assert first.is_new

    def test_the_branches_of_an_each_count(self, fake: FakeWorker) -> None:
        begun = fake.start(numbers.s(MOST) | each(render.s()))
        fake.succeed(fake.take(*begun.dispatches), list(range(MOST)))
        with pytest.raises(BacklogFull):
            fake.start(numbers.s(1) | each(render.s()))

    def test_a_start_is_whole_however_many_jobs_it_adds(self, fake: FakeWorker) -> None:
        assert fake.start(group([render.s()] * (MOST + 5))).is_new
        with pytest.raises(BacklogFull):
            fake.start(render.s())

    def test_each_of_many_workflows_needs_room(self, fake: FakeWorker) -> None:
        with pytest.raises(BacklogFull, match=f"this start needs room for {MOST + 1}"):
            start_many(fake, MOST + 1, render.s())
        assert start_many(fake, MOST, render.s(), keys=["a", "b", "c"]) == MOST
        assert start_many(fake, MOST, render.s(), keys=["a", "b", "c"]) == 0

    def test_a_refused_start_declares_no_limit(self, fake: FakeWorker) -> None:
        for _ in range(MOST):
            fake.start(render.s())
        cap(fake, MOST)
        for canvas in (render.s() | draw.si(), draw.s()):
            with pytest.raises(BacklogFull):
                fake.start(canvas)
        assert limits.list_(fake.ledger) == []

    def test_what_cannot_be_refused_is_started(self, fake: FakeWorker) -> None:
        for _ in range(MOST + 1):
            assert fake.start(render.s(), on_full=None).is_new
