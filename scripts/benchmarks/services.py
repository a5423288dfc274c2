"""What a run needs and takes away again: a private Redis, an empty ledger, one worker a side."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from redis import Redis, RedisError
from redis.backoff import NoBackoff
from redis.retry import Retry
from sqlalchemy import create_engine, make_url

from agentq.embedded.program import find_server
from agentq.ledger import migrating
from agentq.ledger.session import Ledger, parse_url


@contextmanager
def redis(folder: Path) -> Iterator[Path]:
    """A server on a unix socket that keeps nothing on disk."""
    socket = folder / "redis.sock"
    command = [find_server(), "--port", "0", "--unixsocket", str(socket), "--save", "", "--dir", str(folder)]
    with _process(command, folder / "redis.log"):
        with Redis(unix_socket_path=str(socket), retry=Retry(NoBackoff(), 0)) as client:
            _await_answer(client)
        yield socket


@contextmanager
def ledger(kind: str, folder: Path) -> Iterator[str]:
    """The URL of an empty ledger: a SQLite file, or a new database on the PostgreSQL server at *kind*."""
    if kind == "sqlite":
        url = f"sqlite:///{folder / 'ledger.db'}"
        _upgrade(url)
        yield url
        return
    name = f"agentq_bench_{uuid.uuid4().hex[:12]}"
    _administer(kind, f"CREATE DATABASE {name}")
    try:
        url = make_url(kind).set(database=name).render_as_string(hide_password=False)
        _upgrade(url)
        yield url
    finally:
        _administer(kind, f"DROP DATABASE {name} WITH (FORCE)")


def durability(kind: str) -> str:
    """Say what a commit waits for in the ledger."""
    if kind == "sqlite":
        return "SQLite as agentq sets it up"
    engine = create_engine(parse_url(kind))
    with engine.connect() as connection:
        told = {
            name: connection.exec_driver_sql(f"SHOW {name}").scalar() for name in ("fsync", "synchronous_commit")
        }
        version = connection.exec_driver_sql("SHOW server_version").scalar()
    engine.dispose()
    return f"PostgreSQL {version}, " + ", ".join(f"{name} {value}" for name, value in told.items())


@contextmanager
def worker(side: str, folder: Path, environment: dict[str, str], *, pool: str, concurrency: int) -> Iterator[None]:
    """``celery worker`` of one side; it may not be ready yet."""
    command = [
        # At INFO both would write lines for every task, and that would be measured too.
        *(sys.executable, "-m", "celery", "-A", f"benchmarks.{side}", "worker", "--loglevel=WARNING"),
        *(f"--pool={pool}", f"--concurrency={concurrency}"),
    ]
    with _process(command, folder / f"{side}.log", environment):
        yield


@contextmanager
def _process(command: list[str], log: Path, environment: dict[str, str] | None = None) -> Iterator[None]:
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, env=os.environ | (environment or {}), start_new_session=True
        )
    try:
        yield
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=10)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _await_answer(client: Redis) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            client.ping()
            return
        except RedisError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def _upgrade(url: str) -> None:
    opened = Ledger(url)
    migrating.upgrade(opened)
    opened.close()


def _administer(url: str, statement: str) -> None:
    engine = create_engine(parse_url(url), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(statement)
    engine.dispose()
