"""Steps that look at, or disturb, connections to the ledger's database; a worker imports them with ``-I``."""

from __future__ import annotations

import os
from datetime import UTC, datetime

import psycopg
from celery import current_app
from sqlalchemy import text

from agentq import Context, step
from tests.support import gates
from tests.support.steps import add

_left: list[psycopg.Connection] = []


@step
def finish(ctx: Context, folder: str) -> int:
    """Return the number of the attempt once the gate is open, leaving a trace at the end."""
    gates.pass_gate(folder, "gate")
    gates.note(folder, "finished")
    return ctx.attempt


@step
def served_by(folder: str) -> int:
    """Return the server's process for this process's connection to the ledger, once the gate is open."""
    gates.pass_gate(folder, "gate")
    ledger = current_app.agentq.ledger
    served: int = ledger.read(lambda connection: connection.scalar(text("SELECT pg_backend_pid()")))
    return served


@step
def leave_open(value: int) -> int:
    """Leave a transaction open on a connection of its own."""
    _begin().execute("SELECT 1")
    return value


@step
def leave_broken(value: int) -> int:
    """Leave a transaction on a connection of its own that the server has aborted."""
    try:
        _begin().execute("SELECT * FROM no_such_table")
    except psycopg.errors.UndefinedTable:
        return value
    raise AssertionError("the statement should fail")


def _begin() -> psycopg.Connection:
    connection = psycopg.connect(os.environ["AGENTQ_LEDGER"], application_name="user")
    _left.append(connection)
    return connection


@step
def clock() -> datetime:
    """Return the time as this worker sees it."""
    return datetime.now(UTC)


@step
def start_later(seconds: float) -> str:
    """Start a workflow that is due later, from this process; return its id."""
    return add.apply_async((1, 2), countdown=seconds).id
