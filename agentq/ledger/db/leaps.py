"""Reading an index by leaps: the distinct values of a column, however many rows have each."""

from __future__ import annotations

from typing import Any

from sqlalchemy import CTE, ColumnElement, literal_column, select
from sqlalchemy.orm import InstrumentedAttribute


def distinct_by_index(column: InstrumentedAttribute[Any], where: ColumnElement[bool]) -> CTE:
    """Return the values of *column* in the rows that *where* picks, and at last a NULL.

    One access to the index on *column* for each value.
    """
    ordered = select(column).where(where).order_by(column).limit(literal_column("1"))
    found = select(ordered.scalar_subquery().label(column.key)).cte(f"each_{column.key}", recursive=True)
    last = found.c[column.key]
    return found.union_all(select(ordered.where(column > last).scalar_subquery()).where(last.is_not(None)))
