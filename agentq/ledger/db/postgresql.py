"""A session on PostgreSQL: what agentq sets in it, whatever the role or the database says."""

from __future__ import annotations

from typing import Any

from sqlalchemy import URL, Connection

from agentq.exceptions import ConfigurationError
from agentq.ledger.db import pgbouncer


def options(timeout: float, url: URL) -> dict[str, Any]:
    """Return SQLAlchemy's options for a ledger at *url*, whose statements may take *timeout* seconds."""
    session = pgbouncer.SESSION if pgbouncer.is_pooled(url) else _settings(timeout, url)
    return {
        "isolation_level": "READ COMMITTED",
        "pool_pre_ping": False,  # a broken connection is met by the retry, without a round trip per use
        "connect_args": {
            "connect_timeout": max(2, int(timeout)),
            # A server that is gone without a word ends a wait too: the kernel alone would take hours.
            "keepalives_idle": max(1, int(timeout / 2)),
            "keepalives_interval": max(1, int(timeout / 6)),
            "keepalives_count": 3,
            "tcp_user_timeout": int(timeout * 2000),
            "application_name": "agentq",
            "client_encoding": "utf8",
            **session,
        },
    }


def require_utf8(connection: Any, record: object = None) -> None:
    """Raise ConfigurationError unless the database of the driver's *connection* can keep any text."""
    encoding = connection.info.parameter_status("server_encoding")
    if encoding not in (None, "UTF8"):
        name = connection.info.dbname
        raise ConfigurationError(
            f"the encoding of the ledger's database {name!r} is {encoding}, which cannot keep every text; it must "
            "be UTF8. Create another one, move what is in this one with pg_dump, and name it in the ledger's URL: "
            f"CREATE DATABASE {name}_utf8 ENCODING 'UTF8' LOCALE 'C' TEMPLATE template0"
        )


def require_utf8_of(connection: Connection) -> None:
    """Do as ``require_utf8`` for a connection of SQLAlchemy's, which may be of any database."""
    if connection.dialect.name == "postgresql":
        require_utf8(connection.connection.dbapi_connection)


def _settings(timeout: float, url: URL) -> dict[str, Any]:
    milliseconds = int(timeout * 1000)
    settings = {
        # Also for statements outside a transaction: fan-in counts with guarded decrements, which are right
        # only at this level, whatever the database's own default is.
        "default_transaction_isolation": r"read\ committed",
        "default_transaction_deferrable": "off",
        "statement_timeout": milliseconds,
        "lock_timeout": milliseconds,
        "idle_in_transaction_session_timeout": milliseconds * 3,
        # The driver reads times in no other style, and would say so after the statement has written.
        "datestyle": "ISO",
        "intervalstyle": "postgres",
        # What SQLAlchemy and the driver write into a statement's text is quoted for this.
        "standard_conforming_strings": "on",
        # A plan that was made while a table was short stays, and would read all of it when it is long. Without
        # that choice the planner takes an index; and it must not compile for the price of what it has to avoid.
        "enable_seqscan": "off",
        "jit": "off",
    }
    given = str(url.query.get("options", ""))  # such as a search_path, which must not be lost
    return {"options": " ".join([given, *(f"-c {name}={value}" for name, value in settings.items())])}
