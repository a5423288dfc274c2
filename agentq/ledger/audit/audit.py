"""The audit: read a ledger, in one consistent snapshot, and list what must never be there."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import Connection, Select, func, select

from agentq.ledger.audit import invariants
from agentq.ledger.audit.invariants.common import Rule
from agentq.ledger.db.types import now
from agentq.ledger.models import JobRow, WorkflowRow

MOST = 100
"""Violations of one rule that are listed; of the others only the number is told."""
_LONGEST = 600_000
"""Milliseconds that one rule may take: the ledger's own timeout is for statements that somebody waits for."""


@dataclass(frozen=True, slots=True)
class Violation:
    """Something that must never be: the rule it breaks, the row, and what was found there."""

    rule: Rule
    row_id: uuid.UUID
    found: str

    def __str__(self) -> str:
        return f"{self.rule.text}: {self.rule.noun} {self.row_id} ({self.found})"


@dataclass(frozen=True, slots=True)
class Audited:
    """What the audit read and what it found."""

    workflows: int
    jobs: int
    violations: tuple[Violation, ...]
    unlisted: dict[Rule, int]
    """How many more violations of a rule there are than are listed."""


def audit(connection: Connection) -> list[Violation]:
    """Return the violations in the ledger, of each rule the first; an empty list is what a sound one gives.

    It reads whole tables, so it is for checks and tests, not for a hot path. As it sets the transaction's
    isolation, it comes first in a transaction of its own.
    """
    take_snapshot(connection)
    return list(examine(connection).violations)


def take_snapshot(connection: Connection) -> None:
    """Let all that the transaction reads be of one moment, and take its time."""
    # SQLite reads one snapshot per transaction anyway; PostgreSQL, at the ledger's level, one per statement.
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        connection.exec_driver_sql(f"SET LOCAL statement_timeout = {_LONGEST}")
        # Whole tables are joined; without statistics the planner would take them for small.
        connection.exec_driver_sql("SET LOCAL enable_nestloop = off")


def examine(connection: Connection, most: int = MOST) -> Audited:
    """Audit what the transaction sees, listing up to *most* violations of each rule."""
    moment = {"moment": connection.scalar(select(now()))}
    violations: list[Violation] = []
    unlisted: dict[Rule, int] = {}
    for rule in invariants.ALL:
        found = connection.execute(_first(rule, most), moment).all()
        violations += [Violation(rule, row_id, what) for row_id, what in found]
        if len(found) == most and (more := _count(connection, rule.query().subquery(), moment) - most):
            unlisted[rule] = more
    return Audited(_count(connection, WorkflowRow), _count(connection, JobRow), tuple(violations), unlisted)


@cache
def _first(rule: Rule, most: int) -> Select[uuid.UUID, str]:
    """The same object for each audit: SQLAlchemy walks through a query to recognise it, but only once."""
    return rule.query().limit(most)


def _count(connection: Connection, rows: Any, values: dict[str, Any] | None = None) -> int:
    return connection.scalar(select(func.count()).select_from(rows), values) or 0
