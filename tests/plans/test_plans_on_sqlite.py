"""However full the ledger is, no statement of a client's, a worker's or a caretaker's reads all that is done."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from agentq.ledger.db import migrate
from tests.plans.activity import run_canvases, run_caretaker
from tests.plans.crowd import crowd
from tests.plans.indexes import SHORT, SMALL
from tests.plans.trace import note_statements, noted
from tests.support import Worker, client, redis_server, sqlite_file

JOBS = 100_000
_SCAN = re.compile(r"SCAN (agentq_\w+)(?: USING (?:COVERING )?INDEX (\w+))?")
_PLANNED = ("SELECT", "INSERT", "UPDATE", "DELETE", "WITH")


@pytest.fixture(scope="module")
def ledger_file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A full ledger, and beside it in ``trace`` what was run there."""
    folder = tmp_path_factory.mktemp("crowded")
    url, trace = sqlite_file(folder), folder / "trace"
    settings = {"redispatch_after": 0.5, "lease": 2}
    with redis_server() as broker, client(broker, url) as agentq:
        migrate.upgrade(agentq.ledger)
        crowd(url, JOBS)
        agentq.ledger.close()
        note_statements(agentq.ledger.engine, trace)
        with Worker(
            broker,
            url,
            module="tests.plans.traced_project",
            pool="solo",
            concurrency=1,
            settings=settings,
            env={"AGENTQ_TEST_TRACE": str(trace)},
        ):
            run_canvases(agentq)
            run_caretaker(agentq)
        yield folder / "ledger.db"


def test_plans_without_statistics_serve(ledger_file: Path) -> None:
    require_small_reads(ledger_file)


def test_plans_with_statistics_serve(ledger_file: Path) -> None:
    with closing(sqlite3.connect(ledger_file)) as connection:
        connection.execute("ANALYZE")
    require_small_reads(ledger_file)


def require_small_reads(ledger_file: Path) -> None:
    statements = {text for _, text in noted(ledger_file.with_name("trace")) if text.startswith(_PLANNED)}
    assert len({text.partition("\n")[0] for text in statements}) > 20, "few statements were noted"
    with closing(sqlite3.connect(ledger_file)) as connection:
        read_whole = {text: whole_reads(connection, text) for text in statements}
    assert {text: names for text, names in read_whole.items() if names} == {}


def whole_reads(connection: sqlite3.Connection, statement: str) -> list[str]:
    """The parts of a plan that read a table or an index from end to end that grows with what is done."""
    details = [str(row[3]) for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}")]
    scans = [(detail, match) for detail in details if (match := _SCAN.match(detail))]
    return [detail for detail, match in scans if match[1] not in SMALL and match[2] not in SHORT]
