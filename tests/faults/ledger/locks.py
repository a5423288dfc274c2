"""The test's own hands in the server: rows that it holds locked, connections that wait for them or are ended."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psycopg

from tests.support import eventually, services
from tests.support.postgres import Postgres

_JOB = "SELECT 1 FROM agentq_jobs WHERE id = %s FOR UPDATE"
_WAITING = (
    "SELECT pid FROM pg_stat_activity WHERE application_name = 'agentq' "
    "AND wait_event_type = 'Lock' AND state = 'active'"
)
_ALL = "SELECT pid FROM pg_stat_activity WHERE application_name = 'agentq'"


@contextmanager
def transaction(postgres: Postgres) -> Iterator[psycopg.Connection]:
    """A transaction of the test's own, rolled back at the end; it may have died with the server by then."""
    connection = psycopg.connect(postgres.url, application_name="test")
    try:
        yield connection
    finally:
        with suppress(psycopg.OperationalError):
            connection.rollback()
        connection.close()


@contextmanager
def locked_job(postgres: Postgres, job_id: uuid.UUID) -> Iterator[psycopg.Connection]:
    """A transaction that holds the row of a job: who wants to change it waits."""
    with transaction(postgres) as connection:
        connection.execute(_JOB, [job_id])
        yield connection


def lock_job(connection: psycopg.Connection, job_id: uuid.UUID) -> None:
    """Lock one more job in a transaction of the test's own."""
    connection.execute(_JOB, [job_id])


def await_waiting(postgres: Postgres) -> None:
    """Return when a connection of agentq's waits for a lock."""
    eventually(lambda: waiting(postgres), 20, what="a connection of agentq's that waits for a lock")


def waiting(postgres: Postgres) -> set[int]:
    """Return the server's processes that wait for a lock for a connection of agentq's."""
    return _pids(postgres, _WAITING)


def end_connections(postgres: Postgres) -> int:
    """End every connection of agentq's in the server; returns how many there were."""
    with psycopg.connect(postgres.url, autocommit=True) as admin:
        return services.end_connections(admin, "application_name = 'agentq'")


def connections(postgres: Postgres) -> set[int]:
    """Return the server's processes that serve agentq's connections."""
    return _pids(postgres, _ALL)


def _pids(postgres: Postgres, query: str) -> set[int]:
    with psycopg.connect(postgres.url, autocommit=True) as admin:
        return {pid for (pid,) in admin.execute(query)}
