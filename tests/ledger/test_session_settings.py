"""Settings of a role or a database: agentq sets what it relies on, and refuses what it cannot set."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest
from sqlalchemy import text

from agentq.exceptions import AgentqError, ConfigurationError, LedgerUnavailable
from agentq.ledger.db import migrate
from agentq.ledger.db.session import Ledger
from agentq.operations import health
from agentq.operations.health import Level
from tests.support import postgresql_database
from tests.support.fake_worker import FakeWorker
from tests.support.steps import add, echo

TEXT = "grüße 🙂 \\ '"
HARMLESS = (
    "datestyle = 'German, DMY'",
    "client_encoding = 'LATIN1'",
    "timezone = 'Pacific/Chatham'",
    "intervalstyle = 'iso_8601'",
    "standard_conforming_strings = off",
    "bytea_output = 'escape'",
    "default_transaction_isolation = 'serializable'",
    "default_transaction_deferrable = on",
    "row_security = off",
    "statement_timeout = 1",
    "lock_timeout = 1",
    "synchronous_commit = off",
    "extra_float_digits = -15",
)


@pytest.mark.parametrize("options", HARMLESS, ids=lambda options: options.partition(" ")[0])
def test_a_workflow_runs_whatever_a_database_sets(options: str) -> None:
    with postgresql_database(options=options) as url, closing(Ledger(url)) as ledger:
        migrate.upgrade(ledger)
        fake = FakeWorker(ledger)
        started = fake.start(echo.s(TEXT))
        assert fake.run(*started.dispatches) == 1
        assert [finding for finding in health.examine(ledger) if finding.level is Level.ERROR] == []


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_a_database_that_cannot_keep_every_text_is_refused_with_what_to_do(encoding: str) -> None:
    with postgresql_database(encoding=encoding) as url, closing(Ledger(url)) as ledger:
        for use in (migrate.upgrade, Ledger.check_schema):
            with pytest.raises(ConfigurationError, match=rf"is {encoding}, .* must be UTF8.*CREATE DATABASE"):
                use(ledger)
        assert [(finding.level, finding.subject) for finding in health.examine(ledger)] == [
            (Level.ERROR, "ledger")
        ]


@pytest.fixture
def read_only() -> Iterator[Ledger]:
    """A ledger that became read-only, as a provider makes one whose disk is nearly full."""
    with postgresql_database() as url:
        with closing(Ledger(url)) as ledger:
            migrate.upgrade(ledger)
            ledger.write(
                lambda tx: tx.connection.execute(
                    text(f"ALTER DATABASE {ledger.url.database} SET default_transaction_read_only = on")
                )
            )
        with closing(Ledger(url, timeout=1)) as ledger:
            yield ledger


def test_check_says_that_a_ledger_is_read_only(read_only: Ledger) -> None:
    (finding,) = health.examine(read_only)
    assert finding.level is Level.ERROR
    assert "read-only" in finding.what


def test_a_read_only_ledger_is_waited_for_and_then_named(read_only: Ledger) -> None:
    with pytest.raises(LedgerUnavailable, match="target_session_attrs=read-write") as error:
        FakeWorker(read_only).start(add.s(1, 2))
    assert isinstance(error.value, AgentqError)
    assert error.value.is_down
