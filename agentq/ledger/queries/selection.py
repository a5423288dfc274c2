"""A selection: the rows of one table that a filter finds, to be listed or counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, func, select

from agentq.ledger.db.types import AnyRow, seconds_from_now
from agentq.ledger.models import DeadLetterRow, JobRow, WorkflowRow

Wanted = Mapping[str, Any]
"""The values that a filter asks for, by name; ``older_than`` is in seconds since the row was made."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Some rows of a table, in the order of their ids; *query* finds all of them."""

    table: type[JobRow] | type[WorkflowRow] | type[DeadLetterRow]
    query: Select[*tuple[Any, ...]]
    conditions: tuple[ColumnElement[bool], ...] = ()

    def where(self, *conditions: ColumnElement[bool]) -> Selection:
        """Return those of them that meet these conditions too."""
        return replace(self, conditions=(*self.conditions, *conditions))

    def matching(self, columns: Mapping[str, Any], wanted: Wanted) -> Selection:
        """Return those of them that a filter wants; *columns* has the column of each of its values but the age."""
        made = self.table.created_at
        return self.where(
            *(
                made < seconds_from_now(-value) if name == "older_than" else columns[name] == value
                for name, value in wanted.items()
            )
        )

    def rows(self, connection: Connection, limit: int, *, oldest_first: bool = False) -> Sequence[AnyRow]:
        """Return up to *limit* of them, newest first or oldest first."""
        order = self.table.id if oldest_first else self.table.id.desc()
        return connection.execute(self.query.where(*self.conditions).order_by(order).limit(limit)).all()

    def count(self, connection: Connection) -> int:
        """Return how many there are."""
        query = select(func.count()).select_from(self.table).where(*self.conditions)
        return connection.scalar(query) or 0

    def first(self, connection: Connection, most: int) -> tuple[Sequence[AnyRow], int]:
        """Return up to *most* of them, oldest first, and how many there are."""
        rows = self.rows(connection, most, oldest_first=True)
        return rows, len(rows) if len(rows) < most else self.count(connection)
