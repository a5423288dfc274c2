"""Forced races: calls that begin at the same time, and transactions of which one finds the other open."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from typing import Any

from psycopg.errors import DeadlockDetected
from sqlalchemy import text

from agentq.ledger import moves
from agentq.ledger.db.session import Ledger
from agentq.ledger.transaction import Transaction
from tests.support import eventually
from tests.support.fake_worker import FakeWorker

Call = Callable[[], Any]

_WAITING = text(
    "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
)
_LOCKS = re.compile(r"\b(UPDATE|DELETE)\b")


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
            tx = Transaction(connection)
            one = first(tx)
            moves.change_workflows(tx)
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


class Halting:
    """A ledger whose transactions stop before one of their statements that lock, until they may go on."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self._left, self._halts, self._goes_on = -1, threading.Event(), threading.Event()
        around_statements(ledger, self._execute)

    def meet(self, first: Callable[[], Any], second: Callable[[], Any], after: int) -> tuple[Any, Any] | None:
        """Begin *first* here, run *second* after *after* statements of it that lock, and then the rest of *first*.

        *second*, which uses connections of its own, is done then or waits for *first*. Returns what both return,
        or None where *first* has no more statements than these.
        """
        self._halts.clear()
        self._goes_on.clear()
        self._left = after
        with ThreadPoolExecutor(2) as pool:
            one = pool.submit(first)
            one.add_done_callback(lambda _: self._halts.set())
            assert self._halts.wait(30)
            if self._left >= 0:
                one.result()
                return None
            two = pool.submit(second)
            eventually(lambda: two.done() or a_session_waits(self.ledger), what="a wait for the transaction")
            self._goes_on.set()
            return one.result(30), two.result(30)

    def _execute(self, execute: Callable[[], None], statement: str) -> None:
        if _LOCKS.search(statement):
            self._left -= 1
            if self._left == -1:
                self._halts.set()
                assert self._goes_on.wait(30)
        execute()


def count_deadlocks(*ledgers: Ledger) -> list[Exception]:
    """Return a list to which PostgreSQL's deadlocks on these ledgers are added from now on."""
    deadlocks: list[Exception] = []

    def execute(execute: Callable[[], None], statement: str) -> None:
        try:
            execute()
        except DeadlockDetected as error:
            deadlocks.append(error)
            raise

    for ledger in ledgers:
        around_statements(ledger, execute)
    return deadlocks


def around_statements(ledger: Ledger, around: Callable[[Callable[[], None], str], None]) -> None:
    """Let *around* execute the statements of a ledger from now on: it gets a function that does, and the text."""
    dialect: Any = ledger.engine.dialect
    do_execute = dialect.do_execute

    def execute(cursor: Any, statement: str, parameters: Any, context: Any = None) -> None:
        around(lambda: do_execute(cursor, statement, parameters, context), statement)

    dialect.do_execute = execute


def meetings(ledger_url: str, pair: Callable[[FakeWorker, FakeWorker], tuple[Call, Call]]) -> Iterator[Any]:
    """Let two calls meet after each lock of the first one, and give what both returned, without a deadlock.

    *pair* makes a workflow, and returns a call of each worker.
    """
    with fakes(ledger_url, 2) as (one, two):
        halting, deadlocks = Halting(one.ledger), count_deadlocks(one.ledger, two.ledger)
        for after in count():
            returned = halting.meet(*pair(one, two), after)
            if returned is None:
                break
            assert deadlocks == [], f"they met after {after} locks"
            yield returned
        assert after > 3, "the first call takes more locks than these"
