"""The driver of PostgreSQL, with one thing more: something else is done while the database works."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg.waiting import Wait

from agentq.ledger.db.statement import WhileExecuting


class WorkingConnection(psycopg.Connection[Any]):
    """A connection whose process can work while it waits for the answer to a statement."""

    while_executing: WhileExecuting | None = None
    """Called once, as soon as the next statement has been sent."""

    def wait(self, gen: Any, *args: Any, **kwargs: Any) -> Any:
        work, self.while_executing = self.while_executing, None
        return super().wait(gen if work is None else _interposed(gen, work), *args, **kwargs)


def connect(dialect: Any, record: Any, args: Any, options: Any) -> WorkingConnection:
    """Connect for SQLAlchemy's event ``do_connect``."""
    return WorkingConnection.connect(*args, **options)


def _interposed(waiting: Any, work: WhileExecuting) -> Any:
    """The driver's own conversation with the server, a generator of what it waits for, with *work* in between."""
    try:
        awaited = next(waiting)
        while awaited != Wait.R:  # it is still sending
            awaited = waiting.send((yield awaited))
        work()
        while True:
            awaited = waiting.send((yield awaited))
    except StopIteration as done:
        return done.value
