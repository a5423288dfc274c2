"""SQLAlchemy's insides that agentq leans on: each test fails when they change, and says who leans on them."""

from __future__ import annotations

import asyncio
import pkgutil
import re
import sqlite3
import uuid
from datetime import UTC, datetime
from importlib import import_module
from typing import Any

import pytest
from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    Dialect,
    Integer,
    MetaData,
    String,
    Table,
    Uuid,
    bindparam,
    create_engine,
    event,
    exc,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import psycopg
from sqlalchemy.dialects.sqlite import pysqlite
from sqlalchemy.util import await_only, greenlet_spawn

import agentq.ledger
from agentq.ledger.db.session import Ledger
from agentq.ledger.db.statement import Prepared, _Compiled, run_text
from agentq.ledger.db.types import UtcDateTime

ROWS = Table(
    "contract_rows",
    MetaData(),
    Column("id", Uuid, primary_key=True),
    Column("name", String(40), nullable=False),
    Column("count", Integer),
    Column("is_on", Boolean),
    Column("at", UtcDateTime),
    prefixes=["TEMPORARY"],
)
ROW: dict[str, Any] = {
    "id": uuid.UUID(int=7),
    "name": "o'clock, 100%",
    "count": None,
    "is_on": True,
    "at": datetime(2026, 1, 2, 3, 4, 5, 678901, UTC),
}
VALUES = {name: bindparam(name, type_=ROWS.c[name].type) for name in ROW}
ID = bindparam("one", type_=Uuid)
STATEMENTS: dict[str, tuple[Any, dict[str, Any]]] = {
    "a select": (select(ROWS).where(ROWS.c.id == ID), {"one": ROW["id"]}),
    "a select with constants": (
        select(ROWS.c.name, ROWS.c.at).where(ROWS.c.name.in_(["a", "o'clock, 100%"]), ROWS.c.id == ID),
        {"one": ROW["id"]},
    ),
    "a select of a list, with a limit": (
        select(ROWS.c.name)
        .where(ROWS.c.id.in_(bindparam("some", type_=Uuid, expanding=True)), ROWS.c.count.is_(None))
        .limit(1),
        {"some": [uuid.UUID(int=n) for n in range(9)]},
    ),
    "an update that returns": (
        update(ROWS).where(ROWS.c.id == ID).values(count=3, is_on=False).returning(ROWS.c.count, ROWS.c.is_on),
        {"one": ROW["id"]},
    ),
}
OTHERS = {"sqlite": "_START", "postgresql": "_INSERT_WORKFLOW"}
"""The statement that a database cannot have, as it is written for the other one."""


def prepared_statements() -> dict[str, Prepared]:
    """Return every statement of the ledger that is prepared, by module and name."""
    names = [found.name for found in pkgutil.walk_packages(agentq.ledger.__path__, "agentq.ledger.")]
    modules = [import_module(name) for name in names if ".migrations" not in name]
    found = [(f"{module.__name__}.{name}", value) for module in modules for name, value in vars(module).items()]
    of_dicts = [
        (f"{key}.{name}", one) for name, value in found if isinstance(value, dict) for key, one in value.items()
    ]
    return {name: value for name, value in [*found, *of_dicts] if isinstance(value, Prepared)}


def filled(connection: Connection) -> None:
    ROWS.create(connection)
    connection.execute(insert(ROWS), ROW)


@pytest.mark.parametrize("kind", STATEMENTS)
def test_a_prepared_statement_gives_the_rows_that_sqlalchemys_own_execution_gives(
    kind: str, ledger: Ledger
) -> None:
    """agentq/ledger/db/statement.py runs what SQLAlchemy compiled on the driver's cursor."""
    statement, values = STATEMENTS[kind]
    with ledger.engine.connect() as connection:
        filled(connection)
        expected = [tuple(row) for row in connection.execute(statement, values)]
        assert [tuple(row) for row in Prepared(statement).all(connection, values)] == expected != []
        connection.rollback()


def test_a_prepared_insert_writes_what_sqlalchemys_own_execution_writes(ledger: Ledger) -> None:
    """agentq/ledger/db/statement.py, one row and many."""
    other = {**ROW, "id": uuid.UUID(int=8), "count": 5}
    with ledger.engine.connect() as connection:
        filled(connection)
        prepared = Prepared(insert(ROWS).values(VALUES))
        assert prepared.count(connection, other) == 1
        prepared.each(connection, [{**ROW, "id": uuid.UUID(int=n)} for n in (9, 10)])
        written = connection.execute(select(ROWS).order_by(ROWS.c.id)).mappings().all()
        assert written == [ROW, other, *({**ROW, "id": uuid.UUID(int=n)} for n in (9, 10))]
        connection.rollback()


@pytest.mark.parametrize("dialect", [pysqlite.dialect(), psycopg.dialect()], ids=["sqlite", "postgresql"])
def test_the_text_of_every_prepared_statement_asks_for_the_values_that_it_is_given(dialect: Dialect) -> None:
    """agentq/ledger/db/statement.py reads their order in ``positiontup``, or their names in ``binds``."""
    statements = prepared_statements()
    assert len(statements) > 10
    for name, prepared in statements.items():
        if name.endswith(OTHERS[dialect.name]):
            continue
        compiled = _Compiled(prepared._statement, dialect, dict.fromkeys(prepared._lists, 2))
        if compiled._is_positional:
            assert len(compiled._names) == compiled.text.count("?"), name
        else:
            assert {*compiled._names} == {*re.findall(r"%\((\w+)\)s", compiled.text)}, name


def test_an_error_of_the_driver_becomes_the_one_that_sqlalchemy_raises(ledger: Ledger) -> None:
    """agentq/ledger/db/statement.py makes it by ``DBAPIError.instance``."""
    with ledger.engine.connect() as connection:
        filled(connection)
        with pytest.raises(exc.IntegrityError) as raised:
            Prepared(insert(ROWS).values(VALUES)).count(connection, ROW)
        assert raised.value.hide_parameters
        assert not raised.value.connection_invalidated
        assert isinstance(raised.value.orig, ledger.engine.dialect.loaded_dbapi.Error)
        connection.rollback()


def test_every_statement_goes_through_the_execution_of_the_dialect(monkeypatch: pytest.MonkeyPatch) -> None:
    """agentq/ledger/db/statement.py calls it as well, so that a wrapper of it sees every statement."""
    engine = create_engine("sqlite://")
    native, seen = engine.dialect.do_execute, []

    def do_execute(cursor: Any, statement: str, parameters: Any, context: Any = None) -> None:
        seen.append(statement)
        native(cursor, statement, parameters, context)

    monkeypatch.setattr(engine.dialect, "do_execute", do_execute)
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))
        run_text(connection, "SELECT 2").close()
        connection.begin_nested()
    assert seen[:2] == ["SELECT 1", "SELECT 2"]
    engine.dispose()


def test_the_connection_that_a_listener_makes_is_the_drivers(tmp_path: Any) -> None:
    """agentq/ledger/db/driver.py makes it on PostgreSQL; statement.py and postgresql.py read it again."""
    made = []

    def connect(dialect: Dialect, record: Any, args: Any, options: Any) -> sqlite3.Connection:
        made.append(sqlite3.connect(*args, **options))
        return made[0]

    engine = create_engine(f"sqlite:///{tmp_path}/contract.db")
    event.listen(engine, "do_connect", connect)
    with engine.connect() as connection:
        assert connection.connection.dbapi_connection is made[0]
        assert connection.connection.cursor() is not None
    engine.dispose()


def test_code_in_a_session_of_an_event_loop_can_wait_for_a_coroutine() -> None:
    """agentq/runtime/start/session.py dispatches after the commit of an ``AsyncSession``."""

    async def answer() -> int:
        return 7

    assert asyncio.run(greenlet_spawn(lambda: await_only(answer()))) == 7
