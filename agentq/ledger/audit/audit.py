"""The audit: read a ledger, in one consistent snapshot, and list what must never be there."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import Connection, func, select

from agentq.ledger.audit import invariants
from agentq.ledger.audit.invariants.common import Found, Invariant
from agentq.ledger.db.types import now
from agentq.ledger.models import JobRow, WorkflowRow

MOST = 100
"""Violations of one invariant that are listed; the others are only counted."""
_LONGEST = 600_000
"""Milliseconds for one invariant: the ledger's own timeout is for statements with a caller that waits."""


@dataclass(frozen=True, slots=True)
class InvariantViolation:
    """Something that must never be: the invariant that is broken, the row, and what was found there."""

    invariant: Invariant
    row_id: uuid.UUID | str
    """Its id, or the name of a limit."""
    found: str

    def __str__(self) -> str:
        return f"{self.invariant.text}: {self.invariant.noun} {self.row_id} ({self.found})"


@dataclass(frozen=True, slots=True)
class Audited:
    """The result of an audit: the rows it read and the violations it found."""

    workflows: int
    jobs: int
    violations: tuple[InvariantViolation, ...]
    unlisted: dict[Invariant, int]
    """The number of further violations of an invariant, beyond those that are listed."""


def audit(connection: Connection) -> list[InvariantViolation]:
    """Return the violations in the ledger, of each invariant the first; an empty list is what a sound one gives.

    It reads whole tables, so it is for checks and tests, not for a hot path. As it sets the transaction's
    isolation, it comes first in a transaction of its own.
    """
    return list(examine_snapshot(connection).violations)


def examine_snapshot(connection: Connection, most: int = MOST) -> Audited:
    """Audit one snapshot of the ledger, which is taken first in a transaction of its own."""
    take_snapshot(connection)
    return examine(connection, most)


def take_snapshot(connection: Connection) -> None:
    """Let all that the transaction reads be one snapshot, and take its time."""
    # SQLite reads one snapshot per transaction anyway; PostgreSQL, at the ledger's level, one per statement.
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        connection.exec_driver_sql(f"SET LOCAL statement_timeout = {_LONGEST}")
        # Whole tables are joined; without statistics the planner would take them for small.
        connection.exec_driver_sql("SET LOCAL enable_nestloop = off")


def examine(connection: Connection, most: int = MOST) -> Audited:
    """Audit what the transaction sees, listing up to *most* violations of each invariant."""
    values = {"began_at": connection.scalar(select(now()))}
    violations: list[InvariantViolation] = []
    unlisted: dict[Invariant, int] = {}
    for invariant in invariants.ALL:
        found = connection.execute(_first(invariant, most), values).all()
        violations += [InvariantViolation(invariant, row_id, what) for row_id, what in found]
        if len(found) == most and (more := _count(connection, invariant.query().subquery(), values) - most):
            unlisted[invariant] = more
    return Audited(_count(connection, WorkflowRow), _count(connection, JobRow), tuple(violations), unlisted)


@cache
def _first(invariant: Invariant, most: int) -> Found:
    """The same object for each audit: SQLAlchemy walks through a query to recognise it, but only once."""
    return invariant.query().limit(most)


def _count(connection: Connection, rows: Any, values: dict[str, Any] | None = None) -> int:
    return connection.scalar(select(func.count()).select_from(rows), values) or 0
