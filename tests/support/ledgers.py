"""Databases for ledgers: new ones, copies of one with its schema, emptied ones."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg import sql
from sqlalchemy import URL, make_url

from agentq.ledger.models import Base
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
