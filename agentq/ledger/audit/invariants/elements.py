"""The SQL that the invariants need and that each database spells in its own way."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Integer
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.expression import FunctionElement


class length(FunctionElement[int]):
    """The number of items in a JSON text that is a list."""

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
