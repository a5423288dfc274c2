"""Databases for ledgers: new ones, copies of one with its schema, emptied ones."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg import sql
from sqlalchemy import URL, Connection, exists, inspect, make_url, select

from agentq.ledger.audit import audit
from agentq.ledger.models import Base, WorkflowRow
from agentq.ledger.session import Ledger
from tests.support.services import postgresql_database


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


def empty(url: str) -> None:
    """Delete all rows of a ledger on PostgreSQL, and end the connections that killed processes left."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        for table in reversed(Base.metadata.sorted_tables):
            connection.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(table.name)))


def require_sound(url: str) -> None:
    """Fail with what the audit finds in the ledger at the URL; costs next to nothing where that is empty."""
    ledger = Ledger(url)
    try:
        if ledger.read(_is_used):
            found = ledger.read(audit)
            assert found == [], "the ledger is unsound:\n" + "\n".join(map(str, found))
    finally:
        ledger.close()


def _is_used(connection: Connection) -> bool:
    tables = set(inspect(connection).get_table_names())
    return WorkflowRow.__tablename__ in tables and bool(connection.scalar(select(exists(select(WorkflowRow.id)))))
