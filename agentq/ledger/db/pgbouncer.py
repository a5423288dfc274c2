"""A ledger behind PgBouncer in transaction mode, where a session has no settings and no prepared statements.

``?pool_mode=transaction`` in the ledger's URL says so.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import URL

from agentq.exceptions import ConfigurationError

SESSION: dict[str, Any] = {"prepare_threshold": None}
"""The driver's options: it prepares nothing, as the next statement may come to another session."""
_OPTION, _MODE = "pool_mode", "transaction"
_TIMEOUTS = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
_SETTINGS = ("default_transaction_isolation", *_TIMEOUTS)
_FOUND = "SELECT current_user, " + ", ".join(f"current_setting('{name}')" for name in _SETTINGS)


def is_pooled(url: URL) -> bool:
    """Say whether a pooler is between; raises ConfigurationError for a mode that agentq does not know."""
    mode = url.query.get(_OPTION)
    if mode not in (None, _MODE):
        raise ConfigurationError(f"the ledger URL says {_OPTION}={mode}; write {_OPTION}={_MODE}, or leave it out")
    return mode is not None


def without_mode(url: URL) -> URL:
    """Return the URL that the driver understands."""
    return url.difference_update_query([_OPTION])


def prepare(connection: Any, record: object) -> None:
    """Make a new connection fit, for SQLAlchemy's event ``connect``.

    Raises ConfigurationError unless its role has the settings that agentq cannot give it.
    """
    connection.execute("SET datestyle = 'ISO'")  # which PgBouncer follows, and sets wherever the client comes next
    role, isolation, *timeouts = connection.execute(_FOUND).fetchone()
    connection.commit()
    needed = [f"{name} = '10s'" for name, found in zip(_TIMEOUTS, timeouts, strict=True) if found == "0"]
    if isolation != "read committed":
        needed.append("default_transaction_isolation = 'read committed'")
    if needed:
        commands = " ".join(f'ALTER ROLE "{role}" SET {setting};' for setting in needed)
        raise ConfigurationError(
            f"behind a pooler, the ledger's role needs settings of its own; run: {commands} "
            "and then, on PgBouncer's console: RECONNECT"
        )
