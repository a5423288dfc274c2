"""A start finds its key taken, and before it looks who has it, that workflow is pruned."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Connection, create_engine

from agentq.exceptions import LedgerError
from agentq.ledger import starts
from agentq.ledger.db.session import Ledger
from agentq.ledger.transaction import Transaction
from agentq.operations.pruning import prune
from tests.races.overlap import fakes
from tests.support import eventually
from tests.support.fake_worker import FakeWorker, Started, graph_of, started
from tests.support.faults import Fault, Phase, covers
from tests.support.steps import add


@contextmanager
def no_transaction(ledger: Ledger) -> Iterator[Connection]:
    """A caller's own connection on which each statement is committed by itself."""
    engine = create_engine(ledger.url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def start(tx: Transaction) -> Started:
    return started(tx, graph_of(add.s(1, 2)), tenant="acme", key="k")


def prune_before_the_look(monkeypatch: pytest.MonkeyPatch, other: FakeWorker, times: int) -> list[int]:
    """Let *other* have the key at an INSERT and prune it then, *times* times; returns what each INSERT wrote."""
    insert = starts.insert_workflows
    written: list[int] = []

    def insert_and_prune(tx: Transaction, *rows: Any) -> Any:
        if tx.connection.engine is other.ledger.engine:
            return insert(tx, *rows)
        is_taken = len(written) < times
        if is_taken:
            other.run(*other.start(add.s(1, 2), key="k").dispatches)
        new = insert(tx, *rows)
        written.append(len(new))
        if is_taken:
            # It must have ended before now, of which SQLite knows the milliseconds.
            eventually(lambda: prune(other.ledger, older_than=0).workflows == 1)
        return new

    monkeypatch.setattr(starts, "insert_workflows", insert_and_prune)
    return written


def require_new(one: FakeWorker, written: list[int], new: Started) -> None:
    assert (written, new.is_new) == ([0, 1], True)
    assert len(one.jobs(new.workflow_id)) == len(new.dispatches) == 1
    one.run(*new.dispatches)
    assert one.result(new.workflow_id) == 3


@covers(Fault.CONFLICT, Phase.START)
def test_the_start_is_tried_again(ledger_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with fakes(ledger_url, 2) as (one, other):
        written = prune_before_the_look(monkeypatch, other, 1)
        with no_transaction(one.ledger) as connection:
            new = start(Transaction(connection))
        require_new(one, written, new)


@covers(Fault.CONFLICT, Phase.START)
@pytest.mark.parametrize("database", ["postgresql"], indirect=True, scope="session")
def test_the_start_is_tried_again_in_its_transaction(ledger_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with fakes(ledger_url, 2) as (one, other):
        written = prune_before_the_look(monkeypatch, other, 1)
        require_new(one, written, one.ledger.write(start))


@covers(Fault.CONFLICT, Phase.START)
def test_a_start_beside_prunes_is_not_tried_for_ever(ledger_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with fakes(ledger_url, 2) as (one, other):
        written = prune_before_the_look(monkeypatch, other, 100)
        with no_transaction(one.ledger) as connection, pytest.raises(LedgerError, match="5 times"):
            start(Transaction(connection))
        assert written == [0] * 5
