"""The rules of the audit as plain SQL, made once: the audit itself is too slow to be asked after every move."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.dialects import sqlite

from agentq.ledger.audit import invariants
from agentq.ledger.audit.audit import audit


@cache
def _statements() -> list[tuple[str, str]]:
    values, dialect = {"began_at": datetime.now(UTC)}, sqlite.dialect()
    queries = [(rule.text, rule.query().params(values)) for rule in invariants.ALL]
    return [
        (text, str(query.compile(dialect=dialect, compile_kwargs={"literal_binds": True})))
        for text, query in queries
    ]


def audit_fully(connection: Connection) -> list[str]:
    """Return what the audit finds."""
    return [str(violation) for violation in audit(connection)]


def audit_quickly(connection: Connection) -> list[str]:
    """Return what the audit would find; its clock stands where it was when this process asked first."""
    driver: Any = connection.connection.driver_connection
    return [f"{text}: {row}" for text, statement in _statements() for row in driver.execute(statement)]
