"""Postponed starts, ends and let-ins beside each other: none is forgotten, and no more are let in than may be."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from functools import partial

import pytest
from sqlalchemy import func, select

from agentq.ledger import postponed, tenants
from agentq.ledger.models import WorkflowRow
from agentq.ledger.queries.tenants import open_of
from agentq.ledger.transaction import Transaction
from agentq.outcomes import Succeed
from agentq.states import OnFull, WorkflowStatus
from tests.races.overlap import concurrently, fakes
from tests.support.fake_worker import FakeWorker, graph_of, record, started
from tests.support.steps import add

MOST, CLIENTS, ROUNDS = 3, 4, 15
LINE = "max_open:acme"
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
