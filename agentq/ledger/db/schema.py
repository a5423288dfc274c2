"""The ledger's schema: which revision is there, which is needed, and what to do when they differ."""

from __future__ import annotations

from sqlalchemy import Connection, column, inspect, select, table

from agentq.exceptions import LedgerError, SchemaMismatch

VERSION_TABLE = "agentq_alembic_version"
REVISION = "0012"
"""The revision that this code is written for: the newest migration. Revisions sort by age."""


def current_revision(connection: Connection) -> str | None:
    """Return the revision of the schema in the database, or None where there is none."""
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    revision: str | None = connection.scalar(select(column("version_num")).select_from(table(VERSION_TABLE)))
    return revision


def require_writable(connection: Connection) -> None:
    """Raise LedgerError where the transaction of *connection* may only read, as on a standby."""
    if connection.dialect.name != "postgresql":
        return  # SQLite refuses to begin one that may write
    if connection.exec_driver_sql("SELECT current_setting('transaction_read_only')").scalar() == "on":
        raise LedgerError(
            "the ledger is read-only, so nothing can be started or recorded: it is a standby (then name all "
            "servers in the URL, with target_session_attrs=read-write), or default_transaction_read_only is on"
        )


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
