"""``agentq db``: the schema is made and reported about, on each database."""

import sqlite3
import subprocess

import pytest
from sqlalchemy import text

from agentq.ledger.db import migrate, schema
from agentq.ledger.db.session import Ledger
from tests.cli.program import BIN, Inside, Program


def test_upgrade_makes_the_schema_and_again_is_harmless(program: Program, empty_database: str) -> None:
    program.env["AGENTQ_LEDGER"] = empty_database
    assert f"went from no schema to revision {schema.REVISION}\n" in program.text("db", "upgrade")
    assert f"has revision {schema.REVISION}\n" in program.text("db", "upgrade")
    assert program.text("db", "current") == f"{schema.REVISION}\n"


@pytest.mark.long
def test_two_upgrades_at_once_both_succeed(program: Program, empty_database: str) -> None:
    command = [str(BIN / "agentq"), "--ledger", empty_database, "db", "upgrade"]
    running = [subprocess.Popen(command, env=program.environment(), stdout=subprocess.DEVNULL) for _ in range(2)]
    assert [process.wait(60) for process in running] == [0, 0]


def test_a_ledger_of_another_revision_is_refused_with_the_way_out(inside: Inside, empty_database: str) -> None:
    inside.env["AGENTQ_LEDGER"] = empty_database
    ledger = Ledger(empty_database)
    migrate.upgrade(ledger)
    for revision, fix in (("0000", "run: agentq db upgrade"), ("9999", "upgrade celery-agentq")):
        change = text(f"UPDATE {schema.VERSION_TABLE} SET version_num = :revision")  # noqa: S608
        ledger.write(lambda tx, change=change, to=revision: tx.connection.execute(change, {"revision": to}))
        for command in (("db", "current"), ("workflows", "list"), ("jobs", "list")):
            assert fix in inside.error(*command)
    ledger.close()


def test_the_sql_alone_makes_the_schema(inside: Inside, empty_database: str) -> None:
    script = inside.text("--ledger", empty_database, "db", "upgrade", "--sql")
    ledger = Ledger(empty_database)
    assert ledger.read(schema.current_revision) is None, "printed, not run"
    if ledger.is_postgresql:
        ledger.write(lambda tx: tx.connection.exec_driver_sql(_statements_only(script)))
    else:
        sqlite3.connect(str(ledger.url.database)).executescript(script).connection.close()
    ledger.close()
    assert inside.text("--ledger", empty_database, "db", "current") == f"{schema.REVISION}\n"


def test_looking_does_not_make_a_ledger(inside: Inside) -> None:
    url = f"sqlite:///{inside.folder}/typo.db"
    for command in (("workflows", "list"), ("db", "current")):
        assert "there is no ledger at" in inside.error("--ledger", url, *command)
    assert not (inside.folder / "typo.db").exists()


def _statements_only(script: str) -> str:
    """Without BEGIN and COMMIT, which the ledger's transaction does."""
    return script.replace("BEGIN;", "", 1).replace("COMMIT;", "", 1)
