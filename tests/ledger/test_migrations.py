"""Each migration on its own: the code of before works on what it makes, and no table is written anew."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from itertools import pairwise
from typing import Any

import pytest
from sqlalchemy import Connection, Inspector, inspect, text

from agentq.ledger.db import migrate, schema
from agentq.ledger.db.session import Ledger
from tests.support.ledgers import REVISIONS

each_migration = pytest.mark.parametrize(("before", "after"), list(pairwise(REVISIONS)), ids=REVISIONS[1:])


@pytest.fixture
def empty_ledger(empty_database: str) -> Iterator[Ledger]:
    with closing(Ledger(empty_database)) as ledger:
        yield ledger


@each_migration
def test_statements_of_the_release_before_still_work(empty_ledger: Ledger, before: str, after: str) -> None:
    empty_ledger.write(lambda tx: migrate.upgrade_to(tx.connection, before))
    old = empty_ledger.read(columns)
    empty_ledger.write(lambda tx: migrate.upgrade_to(tx.connection, after))
    new = empty_ledger.read(columns)
    assert old.keys() <= new.keys()
    for table in old:
        assert old[table].keys() <= new[table].keys()
        added = [new[table][name] for name in new[table].keys() - old[table].keys()]
        assert all(column["nullable"] or column["default"] is not None for column in added)


def columns(connection: Connection) -> dict[str, dict[str, Any]]:
    """The columns of each table."""
    found = inspect(connection)
    return {table: {column["name"]: column for column in found.get_columns(table)} for table in tables(found)}


def tables(found: Inspector) -> list[str]:
    return [table for table in found.get_table_names() if table != schema.VERSION_TABLE]


@pytest.mark.parametrize("database", ["postgresql"], indirect=True, scope="session")
@each_migration
def test_migrations_rewrite_no_table(empty_ledger: Ledger, before: str, after: str) -> None:
    empty_ledger.write(lambda tx: migrate.upgrade_to(tx.connection, before))
    old = empty_ledger.read(files)
    empty_ledger.write(lambda tx: migrate.upgrade_to(tx.connection, after))
    assert old.items() <= empty_ledger.read(files).items()


def files(connection: Connection) -> dict[str, int]:
    """The file of each table; another one where it was written anew."""
    query = "SELECT relname, relfilenode FROM pg_class WHERE relkind = 'r' AND relname LIKE 'agentq%'"
    return {row.relname: row.relfilenode for row in connection.execute(text(query))}
