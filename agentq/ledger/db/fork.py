"""SQLite across a fork: a child inherits the library's idea of the locks that are held, so none may be held.

A connection that is open in another thread when the pool forks leaves its locks behind in the child's memory for
ever: every write there is answered "database is locked". So a fork waits for transactions to end, and closes the
connections first (https://www.sqlite.org/howtocorrupt.html, section 2.6).
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable

from agentq.exceptions import LedgerError


class ForkGate:
    """Held by each transaction of one SQLite ledger, and by a fork while it happens.

    Transactions of one process take turns by it, which SQLite would make them do anyway.
    """

    def __init__(self, close: Callable[[], None]) -> None:
        self._lock = threading.Lock()
        self._holder: int | None = None
        self._close = weakref.WeakMethod(close)
        _gates.add(self)

    def __enter__(self) -> None:
        if self._holder == threading.get_ident():
            raise LedgerError(
                "the ledger was asked in the middle of its own transaction, which would wait for itself; "
                "in a callback of on_complete use the session that it is given, as in start(…, session=session)"
            )
        self._lock.acquire()
        self._holder = threading.get_ident()

    def __exit__(self, *exc_info: object) -> None:
        self._holder = None
        self._lock.release()

    def shut(self) -> None:
        """Wait for the transaction under way, then close the connections."""
        self._lock.acquire()
        close = self._close()
        if close is not None:
            close()

    def open(self) -> None:
        """Let transactions happen again."""
        self._lock.release()


_gates: weakref.WeakSet[ForkGate] = weakref.WeakSet()
_shut: list[ForkGate] = []


def _before() -> None:
    for gate in list(_gates):
        gate.shut()
        _shut.append(gate)


def _after() -> None:
    while _shut:
        _shut.pop().open()


os.register_at_fork(before=_before, after_in_parent=_after, after_in_child=_after)
