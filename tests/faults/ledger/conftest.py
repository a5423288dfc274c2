"""A private PostgreSQL server with a ledger, and a proxy before it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from agentq.ledger.db import migrate
from agentq.ledger.db.session import Ledger
from tests.support import empty
from tests.support.postgres import Postgres
from tests.support.proxy import Proxy


@pytest.fixture(scope="session")
def migrated_postgres() -> Iterator[Postgres]:
    """A server with the ledger's schema."""
    with Postgres() as server:
        ledger = Ledger(server.url)
        migrate.upgrade(ledger)
        ledger.close()
        yield server


@pytest.fixture(scope="module")
def shared_postgres(migrated_postgres: Postgres) -> Iterator[Postgres]:
    """The server with a ledger that is empty when a module begins."""
    yield migrated_postgres
    empty(migrated_postgres.url)


@pytest.fixture
def postgres(shared_postgres: Postgres) -> Iterator[Postgres]:
    """The server, which the test may stop, start and lock as it likes."""
    yield shared_postgres
    if not shared_postgres.is_up:
        shared_postgres.start()


@pytest.fixture
def proxy(postgres: Postgres) -> Iterator[Proxy]:
    """A proxy before that server."""
    with Proxy(postgres.url) as proxy:
        yield proxy
