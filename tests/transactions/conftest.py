"""A worker, a client, and the business's own tables in the ledger's database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine
from sqlalchemy.orm import Session

from agentq.ledger.db.urls import parse_url
from tests.runtime.stack import Stack, migrated_ledger, stack
from tests.support import redis_server
from tests.transactions.steps import Base

STEPS = ("-I", "tests.transactions.steps")


@contextmanager
def business(url: str) -> Iterator[Engine]:
    """The application's own engine on the ledger's database, with its tables there."""
    engine = create_engine(parse_url(url))
    Base.metadata.create_all(engine)
    yield engine
    Base.metadata.drop_all(engine)
    engine.dispose()


@pytest.fixture(scope="module")
def at(database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One worker for the module; it finds only after a minute what was not dispatched."""
    folder: Path = tmp_path_factory.mktemp("transactions")
    with (
        redis_server() as broker,
        migrated_ledger(database, folder) as url,
        stack(broker, url, settings={"redispatch_after": 60}, arguments=STEPS) as running,
    ):
        yield running


@pytest.fixture(scope="module")
def engine(at: Stack) -> Iterator[Engine]:
    """The application's own engine."""
    with business(at.ledger_url) as engine:
        yield engine


@pytest.fixture
def session(engine: Engine) -> Iterator[Session]:
    """The application's own session."""
    with Session(engine) as session:
        yield session
