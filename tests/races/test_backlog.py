"""Starts at the same time: each may take the last place, so a cap is exact to their number, and to no more."""

from __future__ import annotations

import uuid
from functools import partial
from typing import Any

import pytest

from agentq import step
from agentq.exceptions import BacklogFull
from agentq.ledger import tenants
from agentq.ledger.queries.tenants import open_of
from agentq.ledger.transaction import Transaction
from tests.races.overlap import concurrently, fakes, while_open
from tests.support.fake_worker import FakeWorker, Started, graph_of, started
from tests.support.steps import add

MOST, CLIENTS = 20, 4


@step(max_backlog=MOST)
def render() -> None:
    """A step of which few jobs may wait."""


def cap(fake: FakeWorker, most: int) -> None:
    action = {"actor": "ana", "reason": "a trial", "action_id": uuid.uuid4()}
    fake.ledger.write(lambda tx: tenants.set_max_open(tx, "acme", most, **action))


def attempt(fake: FakeWorker, canvas: Any) -> bool:
    """Say whether a start was not refused."""
    try:
        return fake.start(canvas).is_new
    except BacklogFull:
        return False


def opened(fake: FakeWorker) -> int:
    return int(fake.ledger.read(lambda connection: open_of(connection, "acme")).counted)


@pytest.mark.parametrize("canvas", [add.s(1, 2), render.s()], ids=["max_open", "max_backlog"])
def test_clients_that_start_beside_each_other_are_over_a_cap_by_at_most_the_others(
    ledger_url: str, canvas: Any
) -> None:
    with fakes(ledger_url, CLIENTS) as clients:
        cap(clients[0], MOST)

        def start_until_refused(fake: FakeWorker) -> int:
            begun = 0
            while attempt(fake, canvas):
                begun += 1
            return begun

        begun = concurrently([partial(start_until_refused, fake) for fake in clients])
        assert sum(begun) == opened(clients[0])
        assert MOST <= sum(begun) <= MOST + CLIENTS - 1
        assert not any(attempt(fake, canvas) for fake in clients)


def test_a_start_beside_one_that_is_not_committed_does_not_count_it(ledger_url: str) -> None:
    with fakes(ledger_url, 2) as (one, two):
        cap(one, 1)
        graph = graph_of(add.s(1, 0))

        def begin(tx: Transaction) -> Started:
            return started(tx, graph, tenant="acme", key=None)

        first, is_second = while_open(one.ledger, begin, partial(attempt, two, add.s(1, 2)))
        assert first.is_new
        assert is_second is one.ledger.is_postgresql  # SQLite has one writer at a time
        assert not attempt(one, add.s(1, 2))
