"""The ledger's schema: its revision, its migrations, and what to do when they do not match."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, column, inspect, select, table

from agentq.exceptions import SchemaMismatch

if TYPE_CHECKING:
    from agentq.ledger.session import Ledger

VERSION_TABLE = "agentq_alembic_version"
REVISION = "0001"
"""The revision that this code is written for: the newest migration. Revisions sort by age."""
_MIGRATIONS = Path(__file__).parent / "migrations"


def current_revision(connection: Connection) -> str | None:
    """Return the revision of the schema in the database, or None where there is none."""
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    revision: str | None = connection.scalar(select(column("version_num")).select_from(table(VERSION_TABLE)))
    return revision


def require_current(connection: Connection) -> None:
    """Raise SchemaMismatch unless the database has the schema of this code."""
    found = current_revision(connection)
    if found == REVISION:
        return
    if found is None:
        message = "the ledger has no schema yet; create it with: agentq db upgrade"
    elif found < REVISION:
        message = f"the ledger's schema ({found}) is older than this code ({REVISION}); run: agentq db upgrade"
    else:
        message = (
            f"the ledger's schema ({found}) is newer than this code ({REVISION}); "
            "upgrade celery-agentq in this environment"
        )
    raise SchemaMismatch(message, found=found, expected=REVISION)


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
