"""Ledgers of a run's own: a SQLite file, or a database on a PostgreSQL server, near or behind a slow network."""

from __future__ import annotations

import socket
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from sqlalchemy import create_engine, make_url

from agentq.ledger.db import migrate
from agentq.ledger.db.session import Ledger
from agentq.ledger.db.urls import parse_url
from benchmarks import services

SQLITE = "sqlite"
ONE_WAY = 0.0005
"""Seconds that a message to or from a far ledger takes longer."""

Opener = Callable[[str, Path], AbstractContextManager[str]]
"""Makes a ledger of a kind, ``sqlite`` or the URL of a server, with the help of a folder; gives its URL."""


@contextmanager
def empty(kind: str, folder: Path) -> Iterator[str]:
    """An empty ledger."""
    name = f"agentq_bench_{uuid.uuid4().hex[:12]}"
    if kind == SQLITE:
        url = f"sqlite:///{folder / name}.db"
        _upgrade(url)
        yield url
        return
    _administer(kind, f"CREATE DATABASE {name}")
    try:
        url = make_url(kind).set(database=name).render_as_string(hide_password=False)
        _upgrade(url)
        yield url
    finally:
        _administer(kind, f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def far(kind: str, folder: Path) -> Iterator[str]:
    """An empty ledger on PostgreSQL behind a proxy that delays each direction."""
    with empty(kind, folder) as near, socket.create_server(("127.0.0.1", 0)) as listener:
        server = make_url(near)
        host, port = server.host or "127.0.0.1", server.port or 5432
        command = [sys.executable, "-m", "benchmarks.delay", str(listener.fileno()), host, str(port), str(ONE_WAY)]
        with services.process(command, folder / "delay.log", pass_fds=(listener.fileno(),)):
            host, port = listener.getsockname()
            yield server.set(host=host, port=port).render_as_string(hide_password=False)


def durability(kind: str) -> str:
    """Say what a commit waits for in the ledger."""
    if kind == SQLITE:
        return "SQLite as agentq sets it up"
    engine = create_engine(parse_url(kind))
    with engine.connect() as connection:
        settings = {
            name: connection.exec_driver_sql(f"SHOW {name}").scalar()
            for name in ("fsync", "synchronous_commit", "autovacuum")
        }
        version = connection.exec_driver_sql("SHOW server_version").scalar()
    engine.dispose()
    return f"PostgreSQL {version}, " + ", ".join(f"{name} {value}" for name, value in settings.items())


def _upgrade(url: str) -> None:
    opened = Ledger(url)
    migrate.upgrade(opened)
    opened.close()


def _administer(url: str, statement: str) -> None:
    engine = create_engine(parse_url(url), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(statement)
    engine.dispose()
