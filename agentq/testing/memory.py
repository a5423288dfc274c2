"""A ledger in this process's memory: quick to make, gone with its test, of no use to a worker."""

from __future__ import annotations

import functools
import sqlite3
from types import TracebackType
from typing import Self

from sqlalchemy import URL, Engine, event

from agentq.ids import new_id
from agentq.ledger.db import migrate
from agentq.ledger.db.session import Ledger
from agentq.ledger.transaction import NamingOf, Publish
from agentq.testing.clock import Clock

_TIMEOUT = 2.0
"""Seconds to wait for a lock: one that is held in a test is held by the test itself."""


class MemoryLedger(Ledger):
    """SQLite with the whole schema, from its ``with`` to its end; its time is a clock of the test's.

    Given as a ``URL``, which no setting can be: ``parse_url`` refuses a database in memory.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        publish: Publish | None = None,
        naming: NamingOf | None = None,
        is_empty: bool = False,
    ) -> None:
        url = URL.create("sqlite", database=f"file:/{new_id()}", query={"vfs": "memdb", "uri": "true"})
        super().__init__(url, timeout=_TIMEOUT, publish=publish, naming=naming)
        self._clock = clock
        # The database lives as long as one connection to it is open.
        self._anchor = sqlite3.connect(f"{url.database}?vfs=memdb", uri=True, check_same_thread=False)
        if not is_empty:
            _with_schema()._anchor.backup(self._anchor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        self._anchor.close()

    def _create_engine(self) -> Engine:
        engine = super()._create_engine()
        event.listen(engine, "connect", lambda connection, record: self._clock.install(connection))
        return engine


@functools.cache
def _with_schema() -> MemoryLedger:
    """Return a ledger to be copied: migrating takes far longer than copying."""
    ledger = MemoryLedger(Clock(), is_empty=True)
    migrate.upgrade(ledger)
    ledger.close()
    return ledger
