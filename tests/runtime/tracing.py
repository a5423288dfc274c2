"""Notes each transaction that SQLite sees, in a worker with ``-I tests.runtime.tracing`` and a folder for it."""

from __future__ import annotations

import os
import sqlite3
from functools import partial

from sqlalchemy import event
from sqlalchemy.pool import Pool

from tests.support import gates

FOLDER = "AGENTQ_TEST_TRACES"
TRANSACTION = "transaction"
_ENDS = ("COMMIT", "ROLLBACK")


def _trace(connection: sqlite3.Connection, record: object) -> None:
    connection.set_trace_callback(partial(_note, connection, os.environ[FOLDER]))


def _note(connection: sqlite3.Connection, folder: str, statement: str) -> None:
    # A statement outside a transaction is one of its own.
    if not connection.in_transaction and not statement.startswith(_ENDS):
        gates.note(folder, TRANSACTION)


if FOLDER in os.environ:
    event.listen(Pool, "connect", _trace)
