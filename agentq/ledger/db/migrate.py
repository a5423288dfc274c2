"""Migrations of the ledger's schema, by Alembic; apart from ``schema``, so that only those who migrate load it."""

from __future__ import annotations

import logging
from pathlib import Path

# Alembic logs at INFO, as it is imported, its own plugins: nothing that a worker's log needs.
logging.getLogger("alembic.runtime.plugins").setLevel(logging.WARNING)

from alembic import command  # noqa: E402
from alembic.config import Config  # noqa: E402
from sqlalchemy import Connection  # noqa: E402

from agentq.ledger.db.schema import REVISION, current_revision  # noqa: E402
from agentq.ledger.db.session import Ledger  # noqa: E402

_MIGRATIONS = Path(__file__).parent / "migrations"


_LOCK_TIMEOUT = "500ms"
"""All later users of a table queue behind a session that waits for it: so each wait is short, and is repeated."""
_WAIT_TIMEOUT = 60.0
"""Seconds for which it is tried beside a report or a dump, which hold their locks until they end."""


def upgrade(ledger: Ledger) -> None:
    """Bring the database to this code's schema; safe to call from several processes at once, beside workers.

    Raises LedgerUnavailable where another session held a lock for too long; nothing is changed then.
    """
    ledger.write(lambda tx: _upgrade(tx.connection), wait_timeout=_WAIT_TIMEOUT)


def upgrade_to(connection: Connection, revision: str) -> None:
    """Bring the schema to *revision* in the transaction of an open connection; a newer one stays as it is."""
    found = current_revision(connection)
    if found is None or found < revision:
        command.upgrade(_config(connection), revision)


def downgrade_below(connection: Connection, revision: str) -> None:
    """Undo *revision* in the transaction of an open connection, with all that its tables hold."""
    if current_revision(connection) == revision:
        command.downgrade(_config(connection), f"{revision}-1")


def upgrade_sql(ledger: Ledger) -> None:
    """Print the SQL that ``upgrade`` would run on an empty database, for review or for a DBA."""
    config = _config()
    config.set_main_option("sqlalchemy.url", ledger.url.render_as_string().replace("%", "%%"))
    command.upgrade(config, "head", sql=True)


def wait_briefly(connection: Connection) -> None:
    """Let what follows in this transaction on PostgreSQL wait for tables only briefly, and work for any time."""
    connection.exec_driver_sql(
        "SET LOCAL statement_timeout = 0"
    )  # to read a large table takes as long as it takes
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'")


def _upgrade(connection: Connection) -> None:
    if current_revision(connection) == REVISION:
        return
    if connection.dialect.name == "postgresql":
        # Two upgrades at once would both create the tables; the second one waits here instead.
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7241001)")
        wait_briefly(connection)
    command.upgrade(_config(connection), "head")


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    config.attributes["connection"] = connection
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    return config
