"""SQLAlchemy on Django's own connection: what both write is one transaction, which stays Django's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import cache
from typing import Any

from django.db import InterfaceError, OperationalError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from sqlalchemy import Connection, DateTime, Engine, NullPool, create_engine
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.dialects.sqlite import DATETIME
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.exc import DBAPIError


class _SharedDialect:
    """Leaves the connection as it is, and its transactions to Django."""

    def on_connect(self) -> Any:
        return None

    def do_commit(self, dbapi_connection: Any) -> None:
        pass

    def do_rollback(self, dbapi_connection: Any) -> None:
        pass

    def do_close(self, dbapi_connection: Any) -> None:
        pass

    def do_terminate(self, dbapi_connection: Any) -> None:
        pass


class PostgresqlSharedDialect(_SharedDialect, PGDialect_psycopg):
    """PostgreSQL through psycopg 3."""

    supports_statement_cache = True


class _DjangoDateTime(DATETIME):
    """Django has the driver turn a column's text into a datetime, which SQLAlchemy would do itself."""

    def result_processor(self, dialect: Any, coltype: object) -> Callable[[Any], Any]:
        from_text = super().result_processor(dialect, coltype)
        assert from_text is not None
        return lambda value: value if isinstance(value, datetime) else from_text(value)


class SqliteSharedDialect(_SharedDialect, SQLiteDialect_pysqlite):
    """SQLite through Python's own driver."""

    supports_statement_cache = True
    colspecs = {**SQLiteDialect_pysqlite.colspecs, DateTime: _DjangoDateTime}


for _vendor, _dialect in (("postgresql", PostgresqlSharedDialect), ("sqlite", SqliteSharedDialect)):
    registry.register(f"{_vendor}.django", __name__, _dialect.__name__)


@contextmanager
def django_connection(alias: str) -> Iterator[Connection]:
    """Give Django's connection of this thread to the database *alias*, as SQLAlchemy's.

    Commits and rollbacks of it do nothing: they are Django's. Raises SQLAlchemy's DBAPIError where the database
    does not answer, and Django's TransactionManagementError in a transaction that is broken already.
    """
    own: BaseDatabaseWrapper = connections[alias]
    try:
        own.ensure_connection()
        own.validate_no_broken_transaction()
        with _engine(alias).connect() as connection:
            yield connection
    except (InterfaceError, OperationalError) as error:
        raise DBAPIError("connect or commit", None, error.__cause__ or error) from error


@cache
def _engine(alias: str) -> Engine:
    vendor = connections[alias].vendor
    return create_engine(
        f"{vendor}+django://",
        creator=lambda: connections[alias].connection,
        poolclass=NullPool,
        pool_reset_on_return=None,
        hide_parameters=True,
        **({"use_native_hstore": False} if vendor == "postgresql" else {}),
    )
