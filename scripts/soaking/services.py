"""Brokers and ledgers of the soak's own, each with its ways to be broken."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kombu.connection import Connection

from agentq.ledger.db import migrate
from agentq.ledger.db.session import Ledger
from tests.support import Broker, redis_server, sqlite_file
from tests.support.postgres import Postgres
from tests.support.rabbitmq_node import rabbitmq_node

Break = Callable[[float], None]
"""Breaks something and fixes it again; given for how many seconds it should be away, where that can be chosen."""


Ways = dict[str, Break]
"""The ways to break a service, by name; they are used in turns."""


@contextmanager
def redis() -> Iterator[tuple[Broker, Ways]]:
    """A Redis that keeps nothing on disk."""
    with redis_server() as broker:

        def flush(away: float) -> None:
            with broker.redis as client:
                client.flushall()

        yield broker, {"Redis flushed": flush, "Redis restarted": _restarted(broker)}


@contextmanager
def rabbitmq() -> Iterator[tuple[Broker, Ways]]:
    """A RabbitMQ node; what is in its durable queues survives a restart, so it is also emptied."""
    with rabbitmq_node() as node:

        def purge(away: float) -> None:
            connected = Connection(node.url)  # type: ignore[no-untyped-call]
            with connected as connection, connection.channel() as channel:
                channel.queue_purge(node.queue)

        yield node, {"RabbitMQ purged": purge, "RabbitMQ restarted": _restarted(node)}


@contextmanager
def postgresql(folder: Path) -> Iterator[tuple[str, Ways]]:
    """A PostgreSQL server that is stopped in the middle of all transactions."""
    with Postgres() as server:

        def restart(away: float) -> None:
            server.stop()
            time.sleep(away)
            server.start()

        _migrate(server.url)
        yield server.url, {"PostgreSQL restarted": restart}


@contextmanager
def sqlite(folder: Path) -> Iterator[tuple[str, Ways]]:
    """A SQLite file that another process keeps locked for a while."""
    url = sqlite_file(folder)
    _migrate(url)

    def lock(away: float) -> None:
        ledger = Ledger(url, timeout=10)
        try:
            ledger.write(lambda tx: time.sleep(away))
        finally:
            ledger.close()

    yield url, {"SQLite locked": lock}


def _restarted(broker: Any) -> Break:
    def restart(away: float) -> None:
        broker.kill()
        time.sleep(away)
        broker.start()

    return restart


def _migrate(url: str) -> None:
    ledger = Ledger(url)
    migrate.upgrade(ledger)
    ledger.close()
