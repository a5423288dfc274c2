"""Forced races: calls that begin at the same time, and transactions of which one finds the other open."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from sqlalchemy import text

from agentq.ledger.db.session import Ledger
from agentq.ledger.transaction import Transaction
from tests.support import eventually
from tests.support.fake_worker import FakeWorker

_WAITING = text(
    "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
)


@contextmanager
def fakes(url: str, count: int) -> Iterator[list[FakeWorker]]:
    """Workers that share nothing but the ledger: each has connections of its own."""
    ledgers = [Ledger(url) for _ in range(count)]
    try:
        yield [FakeWorker(ledger) for ledger in ledgers]
    finally:
        for ledger in ledgers:
            ledger.close()


def concurrently(calls: Sequence[Callable[[], Any]]) -> list[Any]:
    """Run each call in a thread, all from the same time, and return what they return."""
    barrier = threading.Barrier(len(calls))

    def run(call: Callable[[], Any]) -> Any:
        barrier.wait(10)
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


def while_open(
    ledger: Ledger, first: Callable[[Transaction], Any], second: Callable[[], Any], *, commit: bool = True
) -> tuple[Any, Any]:
    """Run *first* in a transaction, begin *second* beside it, end the transaction when *second* waits for it.

    Returns what both return. *second* uses connections of its own.
    """
    with ThreadPoolExecutor(1) as pool:
        with ledger.engine.connect() as connection:
            transaction = connection.begin()
            one = first(Transaction(connection))
            two: Future[Any] = pool.submit(second)
            if ledger.is_postgresql:
                eventually(lambda: two.done() or a_session_waits(ledger), what="a wait for the transaction")
            else:  # SQLite shows nobody's waiting; but a writer that is not done cannot but wait
                assert not two.done()
            transaction.commit() if commit else transaction.rollback()
        return one, two.result(30)


def a_session_waits(ledger: Ledger) -> bool:
    """Say whether a connection to the ledger, which is on PostgreSQL, waits for a lock."""
    return bool(ledger.read(lambda connection: connection.scalar(_WAITING)))
