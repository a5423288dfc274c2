"""The function that runs while PostgreSQL executes a statement."""

from __future__ import annotations

import pytest
from sqlalchemy import Integer, Text, bindparam, cast, func, literal_column, select, text

from agentq.exceptions import LedgerError
from agentq.ledger.db.session import Ledger
from agentq.ledger.db.statement import Prepared, WhileExecuting
from agentq.ledger.transaction import Transaction

_NAP = Prepared(
    select(literal_column("pg_backend_pid()", Integer()).label("pid"), func.pg_sleep(0.2).label("nap"))
)
_DIVISION = Prepared(select((1 / bindparam("by", type_=Integer())).label("found")))
_LENGTH = Prepared(select(func.length(cast(bindparam("value", type_=Text()), Text())).label("length")))
_ACTIVE = text("SELECT pid FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%pg_sleep(0.2)%'")


@pytest.fixture
def postgresql(database: str, ledger: Ledger) -> Ledger:
    if database != "postgresql":
        pytest.skip("only PostgreSQL's driver can do something else meanwhile")
    return ledger


def look_at(ledger: Ledger, seen: list[int]) -> WhileExecuting:
    """Return what notes which of the server's processes are at the nap, from a connection of its own."""

    def look() -> None:
        with ledger.engine.connect() as connection:
            seen.extend(connection.scalars(_ACTIVE).all())

    return look


@pytest.mark.parametrize("times", [1, 12], ids=["as the driver sends it first", "once the driver has prepared it"])
def test_the_callback_runs_while_the_server_executes(postgresql: Ledger, times: int) -> None:
    for _ in range(times):
        seen: list[int] = []
        look = look_at(postgresql, seen)
        [row] = postgresql.write_statement(lambda tx: _NAP.all(tx.connection, {}, look))  # noqa: B023
    assert row.pid in seen
    assert postgresql.write_statement(lambda tx: _NAP.all(tx.connection, {})) != []
    assert len([pid for pid in seen if pid == row.pid]) == 1, "it is done for one statement, once"


def test_the_callback_runs_where_the_statement_fails(postgresql: Ledger) -> None:
    done: list[int] = []
    with pytest.raises(LedgerError, match="division by zero"):
        postgresql.write_statement(lambda tx: _DIVISION.all(tx.connection, {"by": 0}, lambda: done.append(1)))
    assert done == [1]


def test_the_callback_runs_after_a_large_statement_was_sent(postgresql: Ledger) -> None:
    done: list[int] = []
    value = "x" * 30_000_000

    def ask(tx: Transaction) -> int:
        return int(_LENGTH.all(tx.connection, {"value": value}, lambda: done.append(1))[0].length)

    assert postgresql.write_statement(ask) == len(value)
    assert done == [1]


def test_the_callbacks_error_is_raised_and_the_connection_closed(postgresql: Ledger) -> None:
    def fail() -> None:
        raise KeyError("while_executing")

    def pid(tx: Transaction) -> int:
        return int(tx.connection.scalar(text("SELECT pg_backend_pid()")) or 0)

    before = postgresql.write_statement(pid)
    with pytest.raises(KeyError, match="while_executing"):
        postgresql.write_statement(lambda tx: _NAP.all(tx.connection, {}, fail))
    assert postgresql.write_statement(pid) != before


def test_sqlite_has_no_time_for_it(ledger: Ledger, database: str) -> None:
    done: list[int] = []
    echo = Prepared(select(bindparam("value", type_=Integer()).label("found")))
    assert ledger.read_statement(lambda c: echo.all(c, {"value": 1}, lambda: done.append(1)))[0].found == 1
    assert done == ([1] if database == "postgresql" else [])
