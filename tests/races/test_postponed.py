"""Postponed starts, ends and let-ins beside each other: none is forgotten, and no more are let in than may be."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from celery import group
from sqlalchemy import func, select

from agentq.ledger import cancels, postponed, tenants
from agentq.ledger.caretaking import expiry
from agentq.ledger.models import WorkflowRow
from agentq.ledger.queries.tenants import open_of
from agentq.ledger.transaction import Transaction
from agentq.outcomes import Succeed
from agentq.states import JobStatus, OnFull, WorkflowStatus
from tests.races.overlap import Call, concurrently, fakes, meetings
from tests.support.fake_worker import FakeWorker, graph_of, record, started
from tests.support.faults import Fault, Phase, covers
from tests.support.steps import add, total

MOST, CLIENTS, ROUNDS = 3, 4, 15
LINE = "max_open:acme"
WHO: dict[str, Any] = {"actor": "ana", "reason": "a trial"}
_POSTPONED = select(func.count()).where(
    WorkflowRow.status == WorkflowStatus.RUNNING, WorkflowRow.postponed_on.is_not(None)
)


@pytest.fixture
def clients(ledger_url: str) -> Iterator[list[FakeWorker]]:
    """Clients that do what follows a commit, and whose messages are lost."""
    with fakes(ledger_url, CLIENTS) as clients:
        for client in clients:
            client.ledger.publish = len
        yield clients


def cap(fake: FakeWorker, most: int) -> None:
    action = {"actor": "ana", "reason": "a trial", "action_id": uuid.uuid4()}
    fake.ledger.write(lambda tx: tenants.set_max_open(tx, "acme", most, **action))


def counts(fake: FakeWorker) -> tuple[int, int]:
    """Return how many workflows are open, and how many postponed."""
    return fake.ledger.read(
        lambda connection: (open_of(connection, "acme").counted, connection.scalar(_POSTPONED) or 0)
    )


@pytest.mark.parametrize("database", ["postgresql"], indirect=True, scope="session")
def test_an_end_that_commits_after_a_postponement_counted_leaves_its_room_to_a_caretaker(
    clients: list[FakeWorker],
) -> None:
    one, two, *_ = clients
    cap(one, 1)
    claimed = one.begin(add.s(1, 2))
    with one.ledger.engine.connect() as connection, connection.begin():
        tx = Transaction(connection)
        record(tx, claimed, Succeed("3"))  # it sees no line
        assert tx.take_works() == []
        two.start(add.s(1, 2), on_full=OnFull.POSTPONE)  # it sees no room
    assert counts(one) == (0, 1)
    postponed.let_all_in(two.ledger, "")
    assert counts(one) == (1, 0)


@pytest.mark.parametrize("database", ["postgresql"], indirect=True, scope="session")
def test_a_postponement_that_commits_beside_the_end_of_the_last_workflow_is_let_in(
    clients: list[FakeWorker],
) -> None:
    one, two, *_ = clients
    cap(one, 1)
    claimed = one.begin(add.s(1, 2))
    with one.ledger.engine.connect() as connection, connection.begin():
        tx = Transaction(connection)
        started(tx, graph_of(add.s(1, 2)), tenant="acme", key=None, on_full=OnFull.POSTPONE)
        two.succeed(claimed, 3)  # it sees no line
    assert counts(one) == (0, 1)
    one.ledger.follow(tx, len, lambda work: work())
    assert counts(one) == (1, 0)


def test_processes_that_let_workflows_in_beside_each_other_let_in_no_more_than_there_is_room_for(
    clients: list[FakeWorker],
) -> None:
    one, *_ = clients
    for _ in range(ROUNDS):
        cap(one, 0)
        for _ in range(CLIENTS + 2):
            one.start(add.s(1, 2), on_full=OnFull.POSTPONE)
        one.ledger.publish = None
        cap(one, counts(one)[0] + MOST)  # nothing follows this commit
        one.ledger.publish = len
        before = counts(one)
        concurrently([partial(postponed.let_in, client.ledger, LINE) for client in clients])
        assert counts(one) == (before[0] + MOST, before[1] - MOST)


def test_starts_and_ends_beside_each_other_leave_no_room_unused_and_open_no_more_than_may_be(
    clients: list[FakeWorker],
) -> None:
    one, *_ = clients
    cap(one, MOST)

    def start_and_end(fake: FakeWorker) -> None:
        for _ in range(ROUNDS):
            begun = fake.start(add.s(1, 2), on_full=OnFull.POSTPONE)
            for dispatch in begun.dispatches:
                claimed = fake.claim(dispatch)
                if claimed is not None:
                    fake.succeed(claimed, 3)

    concurrently([partial(start_and_end, fake) for fake in clients])
    opened, waiting = counts(one)
    assert opened <= MOST + CLIENTS - 1
    postponed.let_all_in(one.ledger, "")
    opened, waiting = counts(one)
    assert opened >= MOST or waiting == 0


CANVASES = {
    "cancel": group(add.s(1, 2), add.s(3, 4)) | total.s().set(needs=0),
    "time": group(add.s(1, 2), group([]) | total.s()) | total.s().set(needs=0, within=60),
}


@covers(Fault.CONFLICT, Phase.FAN_IN, Phase.CANCEL)
@pytest.mark.parametrize("database", ["postgresql"], indirect=True, scope="session")
@pytest.mark.parametrize("is_let_in_first", [True, False])
@pytest.mark.parametrize("loss", CANVASES)
def test_a_fan_in_that_loses_its_last_member_beside_the_let_in_goes_on_by_one_of_the_two(
    ledger_url: str, loss: str, is_let_in_first: bool
) -> None:
    """Its members were cancelled, or its time is over while it waits for a fan-in of nothing."""
    ids: list[uuid.UUID] = []

    def pair(one: FakeWorker, two: FakeWorker) -> tuple[Call, Call]:
        tenant = f"tenant {len(ids)}"
        two.start(add.s(1, 2), tenant=tenant)
        started = two.start(CANVASES[loss], tenant=tenant, max_open=1, on_full=OnFull.POSTPONE)
        cap = partial(tenants.set_max_open, tenant=tenant, max_open=2, action_id=uuid.uuid4(), **WHO)
        two.ledger.write(cap)  # nothing follows this commit
        first, other, *_ = two.jobs(started.workflow_id)
        two.write(lambda tx: cancels.cancel_job(tx, first.id, **WHO))
        fan_in = next(job for job in two.jobs(started.workflow_id) if job.missing)
        two.age(fan_in.id, deadline_at=1)
        assert two.workflow(started.workflow_id).postponed_on is not None
        ids.append(started.workflow_id)
        a, b = (one, two) if is_let_in_first else (two, one)
        let_in = partial(postponed.let_in, a.ledger, f"max_open:{tenant}")
        if loss == "cancel":
            lose = partial(b.write, partial(cancels.cancel_job, job_id=other.id, **WHO))
        else:
            lose = partial(b.write, partial(expiry.end_overdue, most=10))
        return (let_in, lose) if is_let_in_first else (lose, let_in)

    with fakes(ledger_url, 1) as (reader,):
        for _ in meetings(ledger_url, pair):
            assert reader.workflow(ids[-1]).postponed_on is None
            *_, last = reader.jobs(ids[-1])
            assert last.status in (JobStatus.QUEUED, JobStatus.SCHEDULED)
