"""The schema on every ledger: migrations equal models, upgrades are safe, mismatches are reported."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, make_url, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import DOMAIN
from sqlalchemy.dialects.postgresql.base import PGInspector

from agentq.exceptions import SchemaMismatch
from agentq.ledger.db import migrate, schema
from agentq.ledger.db.session import Ledger
from agentq.ledger.models import Base
from agentq.ledger.transaction import Transaction
from agentq.states import WorkflowStatus
from tests.support import new_database
from tests.support.fake_worker import FakeWorker
from tests.support.ledgers import REVISIONS
from tests.support.processes import at_once
from tests.support.steps import add, echo


def test_the_migrations_make_what_the_models_say(ledger: Ledger) -> None:
    options = {"compare_type": True, "compare_server_default": True, "version_table": schema.VERSION_TABLE}

    def differences(connection: Connection) -> list[Any]:
        return list(compare_metadata(MigrationContext.configure(connection, opts=options), Base.metadata))

    assert ledger.read(differences) == []


def test_the_migrations_make_it_to_the_last_constraint(ledger: Ledger, database: str, tmp_path: Path) -> None:
    with new_database(database, tmp_path / "models") as url:
        models = Ledger(url)
        models.write(create_all)
        assert models.read(described) == ledger.read(described)
        models.close()


def create_all(tx: Transaction) -> None:
    if tx.connection.dialect.name == "postgresql":
        for domain in domains().values():
            domain.create(tx.connection)
    Base.metadata.create_all(tx.connection)


def domains() -> dict[str, DOMAIN]:
    columns = [column for table in Base.metadata.tables.values() for column in table.columns]
    types = [column.type.dialect_impl(postgresql.dialect()) for column in columns]
    return {str(kind.name): kind for kind in types if isinstance(kind, DOMAIN)}


def described(connection: Connection) -> dict[str, Any]:
    """All that the database says about agentq's tables; alembic's comparison leaves CHECKs out."""
    found = inspect(connection)
    tables: dict[str, Any] = {}
    if isinstance(found, PGInspector):
        tables["domains"] = sorted(json.dumps(domain, sort_keys=True) for domain in found.get_domains())
    for table in Base.metadata.tables:
        columns = [
            (column["name"], str(column["type"]), column["nullable"], column["default"])
            for column in found.get_columns(table)
        ]
        constraints = [
            *found.get_check_constraints(table),
            *found.get_indexes(table),
            *found.get_foreign_keys(table),
            *found.get_unique_constraints(table),
            found.get_pk_constraint(table),
        ]
        tables[table] = (
            sorted(columns),
            sorted(json.dumps(each, default=str, sort_keys=True) for each in constraints),
        )
    return tables


def test_the_revision_of_the_code_is_the_newest_migration() -> None:
    scripts = ScriptDirectory(str(Path(schema.__file__).parent / "migrations"))
    assert scripts.get_current_head() == schema.REVISION
    assert [script.revision for script in scripts.walk_revisions()] == REVISIONS[::-1]


def test_an_upgrade_can_be_repeated(ledger: Ledger) -> None:
    before = ledger.read(described)
    migrate.upgrade(ledger)
    assert ledger.read(described) == before
    ledger.check_schema()


def test_upgrades_at_once_make_one_schema(empty_database: str) -> None:
    at_once(4, upgrade, empty_database)
    ledger = Ledger(empty_database)
    ledger.check_schema()
    ledger.close()


@pytest.mark.parametrize("database", ["postgresql"], indirect=True, scope="session")
def test_an_upgrade_takes_as_long_as_it_takes(empty_database: str) -> None:
    with psycopg.connect(empty_database, autocommit=True) as connection:
        connection.execute(SLOW_DDL)
    ledger = Ledger(empty_database, timeout=1)
    migrate.upgrade(ledger)
    ledger.check_schema()
    ledger.close()


SLOW_DDL = """
CREATE FUNCTION slow() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN
    IF current_setting('slow.slept', true) IS NULL THEN
        PERFORM pg_sleep(2), set_config('slow.slept', 'yes', false);
    END IF;
END $$;
CREATE EVENT TRIGGER slow ON ddl_command_start EXECUTE FUNCTION slow();
"""
"""The first command that changes the schema takes two seconds."""


def upgrade(url: str) -> None:
    migrate.upgrade(Ledger(url))


def test_a_database_without_a_schema_is_an_error(empty_database: str) -> None:
    ledger = Ledger(empty_database)
    with pytest.raises(SchemaMismatch, match=r"no schema yet.*agentq db upgrade") as mismatch:
        ledger.check_schema()
    assert (mismatch.value.found, mismatch.value.expected) == (None, schema.REVISION)
    migrate.upgrade(ledger)
    ledger.check_schema()
    ledger.close()


@pytest.mark.parametrize(
    ("revision", "expected"), [("0000", "older.*agentq db upgrade"), ("9999", "newer.*upgrade celery-agentq")]
)
def test_an_older_or_newer_schema_is_an_error(empty_database: str, revision: str, expected: str) -> None:
    ledger = Ledger(empty_database)
    migrate.upgrade(ledger)
    change = text(f"UPDATE {schema.VERSION_TABLE} SET version_num = '{revision}'")  # noqa: S608
    ledger.write(lambda tx: tx.connection.execute(change))
    with pytest.raises(SchemaMismatch, match=expected) as mismatch:
        ledger.check_schema()
    assert (mismatch.value.found, mismatch.value.expected) == (revision, schema.REVISION)
    ledger.close()


def test_a_workflow_from_before_the_upgrade_is_kept_and_goes_on(ledger: Ledger) -> None:
    fake = FakeWorker(ledger)
    claimed = fake.begin(add.s(1, 2) | echo.s())
    ledger.write(lambda tx: migrate.downgrade_below(tx.connection, schema.REVISION))
    migrate.upgrade(ledger)
    assert fake.workflow(claimed.workflow_id).terms is None
    fake.run(*fake.succeed(claimed, 3).dispatches)
    assert fake.workflow(claimed.workflow_id).status == WorkflowStatus.SUCCEEDED


def test_the_printed_sql_makes_the_same_schema(
    ledger: Ledger, empty_database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    target = Ledger(empty_database)
    migrate.upgrade_sql(target)
    printed = capsys.readouterr().out
    if target.is_postgresql:
        with psycopg.connect(empty_database) as connection:
            connection.execute(printed.encode())
    else:
        file = sqlite3.connect(str(make_url(empty_database).database))
        file.executescript(printed)
        file.close()
    target.check_schema()
    assert target.read(described) == ledger.read(described)
    target.close()
