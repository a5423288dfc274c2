"""What the rules need of SQL that each database says in its own way."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Integer
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.expression import FunctionElement

from agentq.ledger.types import UtcDateTime


class later(FunctionElement[datetime]):
    """A moment plus so many seconds, which may be negative."""

    type = UtcDateTime()
    inherit_cache = True
    name = "later"

    def __init__(self, moment: ColumnElement[Any] | Any, seconds: float) -> None:
        super().__init__(moment, seconds)


@compiles(later, "postgresql")
def _later_postgresql(element: later, compiler: Any, **kw: Any) -> str:
    moment, seconds = (compiler.process(clause, **kw) for clause in element.clauses)
    return f"{moment} + make_interval(secs => {seconds})"


@compiles(later, "sqlite")
def _later_sqlite(element: later, compiler: Any, **kw: Any) -> str:
    moment, seconds = (compiler.process(clause, **kw) for clause in element.clauses)
    return f"strftime('%Y-%m-%d %H:%M:%f', {moment}, printf('%+.3f seconds', {seconds}))"


class length(FunctionElement[int]):
    """How many items a JSON text has that is a list."""

    type = Integer()
    inherit_cache = True
    name = "length"


@compiles(length, "postgresql")
def _length_postgresql(element: length, compiler: Any, **kw: Any) -> str:
    text = compiler.process(element.clauses, **kw)
    return f"CASE json_typeof({text}::json) WHEN 'array' THEN json_array_length({text}::json) END"


@compiles(length, "sqlite")
def _length_sqlite(element: length, compiler: Any, **kw: Any) -> str:
    text = compiler.process(element.clauses, **kw)
    return f"CASE json_type({text}) WHEN 'array' THEN json_array_length({text}) END"
