"""Errors of the database: those that pass, so that the same is tried again, and what they say of the database."""

from __future__ import annotations

import sqlite3

from sqlalchemy.exc import DBAPIError

_CONNECTION, _RESOURCES, _OPERATOR = "08", "53", "57"
_PASSING_SQLSTATES = (
    _CONNECTION,
    _RESOURCES,  # a full disk, no memory, too many connections
    _OPERATOR,  # cancelled, timed out, shutting down, starting up, idle for too long
    "25006",  # read-only: a standby after a failover, or an operator's or a provider's guard
    "25P03",  # idle in a transaction for too long
    "25P04",  # a transaction for too long
    "26000",  # no such prepared statement: the session is another one
    "42P05",  # a prepared statement of that name: as above
    "40001",  # serialization failure
    "40003",  # whether it was committed is unknown
    "40P01",  # deadlock
    "55006",  # object in use
    "55P03",  # lock not available
    "58000",  # error of the operating system
    "58030",  # error of input or output
    "72000",  # snapshot too old
    "XX000",  # internal: such as a relation that was being changed
)
_OTHER_SESSION_SQLSTATES = ("25006", "25P03", "25P04", "26000", "42P05", "57P", "08")
"""Tried again on the same connection, these come again."""
_DOWN_WORDS = ("Connection refused", "No such file or directory", "FATAL:", "read-only")
"""Words of a server, or of its machine: the driver gives no SQLSTATE for a connection that could not be opened."""
_LOCKED_SQLITE = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_PASSING_SQLITE = (
    *_LOCKED_SQLITE,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_PROTOCOL,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_SCHEMA,
    sqlite3.SQLITE_INTERRUPT,
)


def may_pass(error: DBAPIError) -> bool:
    """Say whether the same transaction may succeed when it is run again."""
    if error.connection_invalidated:
        return True
    if isinstance(error.orig, sqlite3.Error):
        return _sqlite_code(error.orig) in _PASSING_SQLITE
    sqlstate = sqlstate_of(error)
    if sqlstate is None:  # psycopg: no answer from a server at all
        return "OperationalError" in {kind.__name__ for kind in type(error.orig).__mro__}
    return sqlstate.startswith(_PASSING_SQLSTATES) or is_stale_plan(error)


def needs_other_session(error: BaseException) -> bool:
    """Say whether an error comes again on the same connection, and may not on another one."""
    if not isinstance(error, DBAPIError):
        return False
    return (sqlstate_of(error) or "").startswith(_OTHER_SESSION_SQLSTATES) or is_stale_plan(error)


def is_stale_plan(error: DBAPIError) -> bool:
    """Say whether a prepared statement does not fit a table any more that was changed since."""
    diagnosis = getattr(error.orig, "diag", None)  # its text may be in any language
    return getattr(diagnosis, "source_function", None) == "RevalidateCachedQuery"


def is_locked(error: DBAPIError) -> bool:
    """Say whether SQLite's file is locked by another connection."""
    return isinstance(error.orig, sqlite3.Error) and _sqlite_code(error.orig) in _LOCKED_SQLITE


def is_down(error: DBAPIError) -> bool:
    """Say whether the database itself said that it cannot serve now; without an answer, it may serve others."""
    if isinstance(error.orig, sqlite3.Error):
        return True  # it is a file of this machine, as its workers are
    return sqlstate_of(error) is not None or any(words in str(error.orig) for words in _DOWN_WORDS)


def advice(error: DBAPIError) -> str:
    """Return what to do about an error that did not pass in time, as a sentence."""
    sqlstate = sqlstate_of(error) or ""
    code = _sqlite_code(error.orig) if isinstance(error.orig, sqlite3.Error) else None
    if sqlstate == "25006" or code == sqlite3.SQLITE_READONLY or "read-only" in str(error.orig):
        return (
            "It is read-only: is it a standby (then name all servers in the URL, with "
            "target_session_attrs=read-write), is default_transaction_read_only on, or is the file protected?"
        )
    if sqlstate == "53100" or code == sqlite3.SQLITE_FULL:
        return "Its disk is full: make room there."
    if sqlstate.startswith("53"):
        return "It is out of resources: see its log, and its max_connections."
    if sqlstate in ("26000", "42P05"):
        return "Is a connection pooler between? Then say ?pool_mode=transaction in the URL (docs/ledger.md)."
    if sqlstate == "55P03" or code in _LOCKED_SQLITE:
        return "It is up, but another session holds a lock: end what holds it, such as a report or a migration."
    if sqlstate in ("57014", "40001", "40P01"):
        return "It is up, but slow or under heavy load."
    return "Is it up, and is the URL right?"


def sqlstate_of(error: DBAPIError) -> str | None:
    """Return PostgreSQL's code of an error; None where no server gave one."""
    sqlstate: str | None = getattr(error.orig, "sqlstate", None)
    return sqlstate


def first_line(error: DBAPIError) -> str:
    """Return the text of an error that may be shown: the lines after its first may quote the row."""
    return str(error.orig).strip().partition("\n")[0]


def _sqlite_code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF  # without what an extended code adds
