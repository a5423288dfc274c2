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


_HOLDING = "FROM agentq_jobs WHERE held > 0"
_HOLDS = "UNION ALL SELECT name, job_id FROM agentq_holds"


class slots_held(FunctionElement[str]):
    """A table of the slots that jobs and attempts hold: for each, the ``name`` of its limit and the ``job_id``."""

    inherit_cache = True
    name = "slots_held"


@compiles(slots_held, "postgresql")
def _slots_held_postgresql(element: slots_held, compiler: Any, **kw: Any) -> str:
    return f"(SELECT unnest(limits[1:held]) AS name, id AS job_id {_HOLDING} {_HOLDS})"


@compiles(slots_held, "sqlite")
def _slots_held_sqlite(element: slots_held, compiler: Any, **kw: Any) -> str:
    job = "FROM agentq_jobs AS job, json_each(job.limits) AS item WHERE job.held > 0 AND item.key < job.held"
    return f"(SELECT item.value AS name, job.id AS job_id {job} {_HOLDS})"


class limits_paid(FunctionElement[str]):
    """A table of the limits of jobs that pay for their starts: for each, its ``name`` and the ``job_id``."""

    inherit_cache = True
    name = "limits_paid"


@compiles(limits_paid, "postgresql")
def _limits_paid_postgresql(element: limits_paid, compiler: Any, **kw: Any) -> str:
    return "(SELECT unnest(limits) AS name, id AS job_id FROM agentq_jobs WHERE pays)"


@compiles(limits_paid, "sqlite")
def _limits_paid_sqlite(element: limits_paid, compiler: Any, **kw: Any) -> str:
    job = "FROM agentq_jobs AS job, json_each(job.limits) AS item WHERE job.pays"
    return f"(SELECT item.value AS name, job.id AS job_id {job})"
