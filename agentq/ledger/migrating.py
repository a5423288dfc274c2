"""Migrations of the ledger's schema, by Alembic; apart from ``schema``, so that only those who migrate load it."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection

from agentq.ledger.schema import REVISION, current_revision
from agentq.ledger.session import Ledger

_MIGRATIONS = Path(__file__).parent / "migrations"


def upgrade(ledger: Ledger) -> None:
    """Bring the database to this code's schema; safe to call from several processes at once."""
    ledger.write(_upgrade)


def upgrade_sql(ledger: Ledger) -> None:
    """Print the SQL that ``upgrade`` would run on an empty database, for review or for a DBA."""
    config = _config()
    config.set_main_option("sqlalchemy.url", ledger.url.render_as_string().replace("%", "%%"))
    command.upgrade(config, "head", sql=True)


def _upgrade(connection: Connection) -> None:
    if current_revision(connection) == REVISION:
        return
    if connection.dialect.name == "postgresql":
        # Two upgrades at once would both create the tables; the second one waits here instead.
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7241001)")
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    return config
