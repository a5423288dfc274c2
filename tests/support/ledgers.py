"""Databases for ledgers: new ones, copies of one with its schema, emptied ones."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import psycopg
from alembic.script import ScriptDirectory
from psycopg import sql
from sqlalchemy import URL, Connection, NullPool, create_engine, exists, inspect, make_url, select

from agentq.ledger.audit.audit import InvariantViolation, audit
from agentq.ledger.db import schema
from agentq.ledger.db.session import Ledger
from agentq.ledger.db.urls import parse_url
from agentq.ledger.models import Base, WorkflowRow
from tests.support.services import end_connections, postgresql_database

_MIGRATIONS = ScriptDirectory(str(Path(schema.__file__).parent / "migrations"))
REVISIONS = sorted(script.revision for script in _MIGRATIONS.walk_revisions())
"""The revisions of the schema, the oldest first."""


def sqlite_file(folder: Path, name: str = "ledger.db") -> str:
    """The URL of a SQLite file."""
    return URL.create("sqlite", database=str(folder / name)).render_as_string()


@contextmanager
def new_database(kind: str, folder: Path) -> Iterator[str]:
    """The URL of a new, empty database; *kind* is sqlite or postgresql."""
    if kind == "sqlite":
        folder.mkdir(exist_ok=True)
        yield sqlite_file(folder)
    else:
        with postgresql_database() as url:
            yield url


@contextmanager
def copied_ledger(template: str, folder: Path) -> Iterator[str]:
    """The URL of a copy of the ledger at the URL *template*."""
    if template.startswith("sqlite"):
        url = sqlite_file(folder)
        shutil.copy(str(make_url(template).database), str(make_url(url).database))
        yield url
    else:
        with postgresql_database(template) as url:
            yield url


def put_back(ledger: Ledger, template: str) -> None:
    """Make a ledger on SQLite a copy of the one at the URL *template*.

    Its engine stays: another would compile all statements again.
    """
    engine = ledger.engine
    ledger.close()
    ledger._engines[os.getpid()] = engine
    file = str(ledger.url.database)
    assert not Path(f"{file}-wal").exists(), "another process has the ledger open"
    shutil.copy(str(make_url(template).database), file)


def empty(url: str) -> None:
    """Delete all rows of a ledger on PostgreSQL, and end the connections that killed processes left."""
    with psycopg.connect(url, autocommit=True) as connection:
        end_connections(connection)
        for table in reversed(Base.metadata.sorted_tables):
            connection.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(table.name)))


def require_sound(url: str) -> None:
    """Fail with what the audit finds in the ledger at the URL; costs next to nothing where that is empty."""
    place = parse_url(url)
    found = _auditor(place.drivername).audit(place)
    assert found == [], "the ledger is unsound:\n" + "\n".join(map(str, found))


class _Auditor:
    """One engine for the ledgers of all tests: an engine for each would compile the rules' queries each time."""

    def __init__(self, driver: str) -> None:
        self._place = URL.create(driver)
        self._engine = create_engine(self._place, creator=self._connect, poolclass=NullPool)

    def audit(self, place: URL) -> list[InvariantViolation]:
        self._place = place
        with self._engine.connect() as connection:
            with connection.begin():
                is_used = _is_used(connection)
            with connection.begin():
                if connection.dialect.name == "sqlite":
                    connection.exec_driver_sql("BEGIN")  # else each query would see a snapshot of its own
                return audit(connection) if is_used else []

    def _connect(self) -> Any:
        dialect = self._engine.dialect
        arguments, options = dialect.create_connect_args(self._place)
        return dialect.connect(*arguments, **options)


_auditor = cache(_Auditor)


def _is_used(connection: Connection) -> bool:
    tables = set(inspect(connection).get_table_names())
    return WorkflowRow.__tablename__ in tables and bool(connection.scalar(select(exists(select(WorkflowRow.id)))))
