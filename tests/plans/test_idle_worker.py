"""The statements of an idle worker to its ledger, BEGIN and COMMIT counted too."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

from agentq.ledger.db import migrate
from agentq.ledger.db.session import Ledger
from tests.plans.trace import noted
from tests.support import Broker, Worker, eventually, sqlite_file
from tests.support.postgres import Postgres

MOST_A_SECOND = 5
STATEMENTS = 24
"""The number of statements to look at: those of some seconds, a renewal of the lease among them."""
_LOGGED = re.compile(r"^([\d.]+)\|agentq\|LOG:  (?:statement|execute [^:]*): (.*)$", re.MULTILINE)

Statements = list[tuple[float, str]]


def test_it_asks_little_of_postgresql(redis_broker: Broker) -> None:
    with Postgres(log_statement="all", log_line_prefix="%n|%a|") as server:
        upgrade(server.url)
        with Worker(redis_broker, server.url):
            logged = ran(lambda: [(float(time), text) for time, text in _LOGGED.findall(server.log())])
    assert any(text.startswith("INSERT INTO agentq_workers") for _, text in logged), "the lease was not renewed"
    assert per_second(logged) <= MOST_A_SECOND, logged


def test_it_asks_little_of_sqlite_and_locks_it_for_the_lease_only(redis_broker: Broker, tmp_path: Path) -> None:
    url, trace = sqlite_file(tmp_path), tmp_path / "trace"
    upgrade(url)
    with Worker(redis_broker, url, module="tests.plans.traced_project", env={"AGENTQ_TEST_TRACE": str(trace)}):
        statements = ran(lambda: list(noted(trace)))
    assert per_second(statements) <= MOST_A_SECOND, statements
    texts = [text for _, text in statements]
    locked = [after.split("(")[0] for begin, after in pairwise(texts) if "IMMEDIATE" in begin]
    assert set(locked) == {"INSERT INTO agentq_workers "}


def upgrade(url: str) -> None:
    ledger = Ledger(url)
    migrate.upgrade(ledger)
    ledger.close()


def ran(look: Callable[[], Statements]) -> Statements:
    """The further statements found by *look*, after enough were run."""
    before = len(look())
    return eventually(lambda: look()[before:] if len(look()) >= before + STATEMENTS else [], 60, what="statements")


def per_second(statements: Statements) -> float:
    return (len(statements) - 1) / (statements[-1][0] - statements[0][0])
