"""A ledger behind PgBouncer in transaction mode: many connections of clients and workers share a few."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

import psycopg
import pytest
from celery import chain, group
from psycopg import sql
from sqlalchemy import make_url

from agentq import each
from agentq.exceptions import ConfigurationError
from agentq.ledger.db import migrate
from agentq.ledger.db.session import Ledger
from tests.runtime.queries import require_sound
from tests.support import Broker, Worker, client, postgresql_database
from tests.support.pgbouncer import pgbouncer
from tests.support.steps import add, flaky, numbers, total

CONNECTIONS = 3
"""Fewer than the worker's processes and the client have."""
TIMEOUTS = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")


@pytest.fixture
def database_url() -> Iterator[str]:
    with postgresql_database() as url:
        yield url


def test_workflows_run(redis_broker: Broker, database_url: str) -> None:
    give_settings(database_url)
    with pooled(database_url) as pooled_url, client(redis_broker, pooled_url) as agentq:
        migrate.upgrade(agentq.ledger)
        with Worker(redis_broker, pooled_url, concurrency=4):
            # More of each than a driver runs before it prepares a statement.
            chains = [agentq.start(chain(add.s(1, 2), *(add.s(1) for _ in range(9)))) for _ in range(8)]
            fans = [agentq.start(group(add.s(n, 1) for n in range(20)) | total.s()) for _ in range(4)]
            expanded = agentq.start(numbers.s(30) | each(add.s(1)) | total.s())
            paused = agentq.start(flaky.s("result", 1))
            assert [workflow.result(60) for workflow in chains] == [12] * 8
            assert [workflow.result(60) for workflow in fans] == [210] * 4
            assert expanded.result(60) == 465
            assert paused.result(60) == "result"
            assert connections_of(database_url) <= CONNECTIONS
        require_sound(agentq)


def test_settings_that_agentq_cannot_make_are_asked_for(database_url: str) -> None:
    with (
        pooled(database_url) as pooled_url,
        closing(Ledger(pooled_url)) as ledger,
        pytest.raises(ConfigurationError, match=r"ALTER ROLE \"\w+\" SET statement_timeout = '10s';"),
    ):
        migrate.upgrade(ledger)


def test_another_mode_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="pool_mode=session"):
        Ledger("postgresql://somewhere/ledger?pool_mode=session")


@contextmanager
def pooled(database_url: str) -> Iterator[str]:
    """The ledger's URL by way of a PgBouncer."""
    with pgbouncer(database_url, connections=CONNECTIONS) as url:
        yield f"{url}?pool_mode=transaction"


def give_settings(database_url: str) -> None:
    """Do for this database what an administrator does for the ledger's role."""
    name = sql.Identifier(make_url(database_url).database or "")
    with psycopg.connect(database_url, autocommit=True) as connection:
        for timeout in TIMEOUTS:
            connection.execute(sql.SQL("ALTER DATABASE {} SET {} = '10s'").format(name, sql.Identifier(timeout)))


def connections_of(database_url: str) -> int:
    query = "SELECT count(*) - 1 FROM pg_stat_activity WHERE datname = current_database()"
    with psycopg.connect(database_url) as connection:
        row = connection.execute(query).fetchone()
        assert row is not None
        return int(row[0])
