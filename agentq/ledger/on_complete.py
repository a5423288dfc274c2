"""Writes of a step in the transaction that records its success."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from sqlalchemy import Connection, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from agentq.exceptions import LedgerError
from agentq.ledger.db.errors import may_pass


class CompletionFailed(Exception):
    """One of a step's callbacks raised ``error``: the attempt failed with it, and nothing was recorded."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(str(error))
        self.error = error


def run_on_complete(connection: Connection, callbacks: Sequence[Callable[[Session], object]]) -> None:
    """Call *callbacks* with one session in the transaction of *connection*, and flush it.

    Raises CompletionFailed for what they raise, but for what passes when the whole transaction is run again.
    """
    try:
        with _held_open(connection), Session(connection, join_transaction_mode="create_savepoint") as session:
            for callback in callbacks:
                callback(session)
            session.commit()  # its savepoint
    except BaseException as error:
        if isinstance(error, DBAPIError) and may_pass(error):
            raise
        raise CompletionFailed(error) from error


@contextmanager
def _held_open(connection: Connection) -> Iterator[None]:
    """Refuse a commit of the whole: what was handed over would be missing in it."""
    event.listen(connection, "commit", _refuse)
    try:
        yield
    finally:
        event.remove(connection, "commit", _refuse)


def _refuse(connection: Connection) -> None:
    connection.invalidate()  # SQLAlchemy holds it for committed now, and would not roll back
    raise LedgerError("the transaction of on_complete is committed with the job's outcome, not by its callback")
