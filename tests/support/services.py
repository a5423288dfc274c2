"""Databases and brokers of a test's own: private servers where they are cheap, private names where not.

A service that is not there skips the test with a line that says so; where CI is set it fails instead.
"""

from __future__ import annotations

import os
import signal
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, LiteralString, NoReturn
from urllib.parse import quote

import psycopg
import pytest
from amqp.exceptions import NotFound  # type: ignore[import-untyped]
from kombu.connection import Connection
from psycopg import sql
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry
from sqlalchemy import URL, make_url

from agentq.embedded.program import find_server
from agentq.exceptions import EmbeddedServerError
from tests.support.forked import Forked
from tests.support.waiting import eventually

POSTGRES = os.environ.get("AGENTQ_TEST_POSTGRES", "postgresql://postgres@127.0.0.1:5432/postgres")
RABBITMQ = os.environ.get("AGENTQ_TEST_RABBITMQ", "amqp://guest:guest@127.0.0.1:5672//")


@dataclass
class Broker:
    """A broker and the queue that a test uses there."""

    url: str
    queue: str
    process: subprocess.Popen[bytes] | None = None
    """The server, where it is the test's own."""
    command: tuple[str, ...] = ()

    @property
    def dead_letters(self) -> str:
        """The queue of the task that records dead letters."""
        return f"{self.queue}.dead"

    def kill(self) -> None:
        """Kill the server, which is the test's own, with all that it holds."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def start(self) -> None:
        """Start the server, empty, at the same address."""
        self.process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL, start_new_session=True)
        eventually(self._answers, what="an answer of the private Redis")

    @property
    def redis(self) -> Redis:
        """A client of the server, which is a Redis."""
        path = self.command[self.command.index("--unixsocket") + 1]
        return Redis(unix_socket_path=path, retry=Retry(NoBackoff(), 0), decode_responses=True)

    @property
    def lane(self) -> str:
        """The list of Redis for the queue's jobs without a priority: the lane in the middle."""
        return f"{self.queue}\x06\x165"

    def waiting(self) -> int:
        """The number of messages in the queue, in all of its lanes."""
        lanes = [self.queue, *(f"{self.queue}\x06\x16{lane}" for lane in range(1, 10))]
        with self.redis as client:
            return sum(int(client.llen(lane)) for lane in lanes)

    def published(self) -> int:
        """The number of messages that were put into queues so far."""
        with self.redis as client:
            commands: Any = client.info("commandstats")
        return sum(commands.get(f"cmdstat_{name}", {}).get("calls", 0) for name in ("lpush", "rpush"))

    def _answers(self) -> bool:
        with self.redis as client:
            try:
                return bool(client.ping())
            except RedisError:
                return False


@contextmanager
def redis_server(port: int = 0) -> Iterator[Broker]:
    """A Redis or Valkey server of the caller's own, on a unix socket and *port*; it keeps nothing on disk."""
    try:
        program = find_server()
    except EmbeddedServerError as error:
        missing("Redis", str(error))
    with TemporaryDirectory(prefix="aq-") as folder:
        socket = str(Path(folder, "redis.sock"))
        address = ("--bind", "127.0.0.1", "--port", str(port), "--unixsocket", socket)
        command = (program, *address, "--save", "", "--dir", folder)
        broker = Broker(f"redis+socket://{quote(socket)}?virtual_host=0", "celery", command=command)
        broker.start()
        try:
            yield broker
        finally:
            with suppress(ProcessLookupError):
                broker.kill()


@contextmanager
def rabbitmq() -> Iterator[Broker]:
    """A queue of the caller's own on the shared RabbitMQ."""
    queue = f"agentq-test-{uuid.uuid4().hex[:12]}"
    with Connection(RABBITMQ, connect_timeout=3) as connection:
        try:
            connection.connect()
        except OSError as error:
            missing("RabbitMQ", f"{connection.as_uri()} does not answer ({error}); set AGENTQ_TEST_RABBITMQ")
        broker = Broker(RABBITMQ, queue)
        yield broker
    with Connection(RABBITMQ) as connection:
        for name in (queue, broker.dead_letters):
            for delete in ("queue_delete", "exchange_delete"):
                with suppress(NotFound), connection.channel() as channel:
                    getattr(channel, delete)(name)


@contextmanager
def postgresql_database(
    template: str | None = None, *, options: str = "", encoding: str | None = None
) -> Iterator[str]:
    """The URL of a new database, dropped at the end; a copy of the one at the URL *template*.

    *options* are settings of that database, as in ``default_transaction_isolation = 'serializable'``; *encoding*
    is another one than the server's.
    """
    name = f"agentq_test_{uuid.uuid4().hex[:12]}"
    source = make_url(template).database if template else "template1"
    with _administration() as admin:
        create = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        if encoding is not None:
            create, source = sql.SQL(f"{create.as_string()} ENCODING '{encoding}' LOCALE 'C'"), "template0"
        admin.execute(create.format(sql.Identifier(name), sql.Identifier(source or "")))
        if options:
            setting = sql.SQL(f"ALTER DATABASE {{}} SET {options}")
            admin.execute(setting.format(sql.Identifier(name)))
    try:
        yield _postgres_url().set(database=name).render_as_string(hide_password=False)
    finally:
        with _administration() as admin:
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def end_connections(admin: psycopg.Connection[Any], which: LiteralString = "datname = current_database()") -> int:
    """End the connections of others that are such, wait until they are gone, and return how many there were.

    *admin* must commit by itself: within a transaction it would see one snapshot only.
    """
    end = sql.SQL(
        "SELECT pid, pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE {} AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
    )
    ended = [pid for pid, _ in admin.execute(end.format(sql.SQL(which)))]
    left = "SELECT pid FROM pg_stat_activity WHERE pid = ANY(%s)"
    # The server's own way to wait for them looks ten times a second.
    eventually(lambda: not admin.execute(left, [ended]).fetchall(), what="the end of all connections")
    return len(ended)


def _postgres_url() -> URL:
    return make_url(POSTGRES).set(drivername="postgresql")


@contextmanager
def _administration() -> Iterator[psycopg.Connection]:
    url = _postgres_url()
    try:
        admin = psycopg.connect(url.render_as_string(hide_password=False), autocommit=True, connect_timeout=3)
    except psycopg.OperationalError as error:
        missing("PostgreSQL", f"{url!r} does not answer ({error}); set AGENTQ_TEST_POSTGRES")
    with admin:
        yield admin


def missing(service: str, why: str) -> NoReturn:
    if os.environ.get("CI"):
        pytest.fail(f"{service} is needed in CI: {why}", pytrace=False)
    pytest.skip(f"no {service}: {why}")


def kill_group(process: subprocess.Popen[bytes] | Forked, number: int = signal.SIGKILL) -> None:
    """Send a signal to a process that leads a group, and to all its children."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)
