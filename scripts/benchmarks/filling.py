"""A ledger with a past: one finished chain, copied until there are as many jobs as after some weeks."""

from __future__ import annotations

import hashlib
from typing import Any

from sqlalchemy import Connection, String, Table, Uuid, cast, func, insert, literal, select

from agentq.ledger.db.session import Ledger
from agentq.ledger.models import AttemptRow, JobRow, WorkflowRow
from benchmarks.crew import Crew
from benchmarks.work import one_chain

JOBS = {"postgresql": 1_000_000, "sqlite": 100_000}
_LENGTH = 10
_APART = 10
"""Milliseconds between two copies, by their ids, which sort by time."""
_TWIN = """
CREATE OR REPLACE FUNCTION twin(id uuid, age bigint) RETURNS uuid LANGUAGE sql IMMUTABLE RETURN (
    lpad(to_hex(('x' || left(replace(id::text, '-', ''), 12))::bit(48)::bigint - age), 12, '0')
    || substr(md5(id::text || age), 13)
)::uuid
"""


def fill(crew: Crew) -> None:
    """Let the crew's ledger look as if it had been in use for long."""
    crew.client.do(one_chain, _LENGTH)
    assert crew.place.ledger is not None
    ledger = Ledger(crew.place.ledger, timeout=1800)
    try:
        kind = "postgresql" if ledger.is_postgresql else "sqlite"
        multiply(ledger, JOBS[kind] // _LENGTH)
    finally:
        ledger.close()


def multiply(ledger: Ledger, copies: int, tenants: int = 0) -> None:
    """Copy each workflow with its jobs and their attempts so often, and gather statistics.

    The copies belong to so many new *tenants*, or to those of what is copied.
    """
    ledger.write(lambda tx: _copy_all(tx.connection, copies, tenants))
    with ledger.engine.connect() as connection:
        connection = connection.execution_options(isolation_level="AUTOCOMMIT")
        connection.exec_driver_sql("VACUUM ANALYZE" if ledger.is_postgresql else "ANALYZE")


def _copy_all(connection: Connection, copies: int, tenants: int) -> None:
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(_TWIN)
    else:
        driver: Any = connection.connection.dbapi_connection
        driver.create_function("twin", 2, _twin, deterministic=True)
    for row in (WorkflowRow, JobRow, AttemptRow):
        table = row.__table__
        assert isinstance(table, Table)
        connection.execute(_copy(table, copies, tenants))


def _copy(table: Table, copies: int, tenants: int) -> Any:
    """Copy all rows so often, each copy with ids of its own, which refer to each other as the first ones do."""
    numbers = select(literal(1).label("n")).cte("numbers", recursive=True)
    numbers = numbers.union_all(select(numbers.c.n + 1).where(numbers.c.n < copies))
    age = (copies - numbers.c.n) * _APART + 1
    values: dict[str, Any] = {
        column.name: func.twin(column, age)
        if isinstance(column.type, Uuid) and column.name != "worker_id"
        else column
        for column in table.c
    }
    if tenants and "tenant" in values:
        values["tenant"] = literal("tenant-") + cast(numbers.c.n % tenants, String())
    return insert(table).from_select(list(values), select(*values.values()).join(numbers, literal(True)))


def _twin(of: str | None, age: int) -> str | None:
    """Return what PostgreSQL's function of this name does."""
    if of is None:
        return None
    digest = hashlib.md5(f"{of}{age}".encode(), usedforsecurity=False).hexdigest()
    return f"{int(of[:12], 16) - age:012x}{digest[12:]}"
