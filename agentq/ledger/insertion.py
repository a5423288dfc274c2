"""The inserts of new workflows and jobs: on PostgreSQL one statement, however many there are."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Float, Text, bindparam, case, cast, column, func, insert, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.types import TypeEngine

from agentq.ledger.db.statement import Prepared
from agentq.ledger.db.types import UtcDateTime, now, seconds_from_now
from agentq.ledger.models import JobRow, WorkflowRow
from agentq.ledger.moves.ready import time_of
from agentq.ledger.transaction import Transaction
from agentq.states import JobStatus

Row = dict[str, Any]
"""A workflow or a job that is to be written: what ``_WORKFLOW`` or ``_JOB`` names."""
Source = Callable[[str], Any]
"""The source of a row's value, by its name."""

_MOST_JOBS = 1_000
"""Jobs of one statement, so that a large start needs no large memory."""

_WORKFLOW: dict[str, TypeEngine[Any]] = {
    name: WorkflowRow.__table__.c[name].type
    for name in ("id", "tenant", "name", "status", "key", "fingerprint", "result_job_id", "policy", "terms")
} | {"deadline": Float()}
_SET_LATER = (
    *("dispatches", "attempt", "claim_token", "worker_id", "started_at", "result", "finished_at"),
    *("deadline_at", "due_reason", "attempts_before", "uncounted", "waits", "paused", "waited"),
    *("missing", "is_missing", "due_at", "dispatched_at", "expires_at"),
    *("error_category", "error_class", "error_message", "created_at"),
)
_JOB: dict[str, TypeEngine[Any]] = {
    column.key: column.type for column in JobRow.__table__.columns if column.key not in _SET_LATER
} | {"eta": UtcDateTime(), "expires_in": Float(), "expiry": UtcDateTime()}


def _bound(types: dict[str, TypeEngine[Any]]) -> Source:
    return lambda name: bindparam(name, type_=types[name])


def _unpacked(parameter: str, types: dict[str, TypeEngine[Any]]) -> Any:
    """Many rows as one parameter: PostgreSQL makes a table of JSON."""
    packed = cast(bindparam(parameter, type_=Text()), postgresql.JSON)
    columns = [column(name, kind) for name, kind in types.items()]
    return func.json_to_recordset(packed).table_valued(*columns, name=parameter).render_derived(with_types=True)


def _workflow_values(given: Source) -> dict[str, Any]:
    seconds = cast(given("deadline"), Float())
    return {name: given(name) for name in _WORKFLOW if name != "deadline"} | {
        "deadline_at": case((seconds.is_not(None), seconds_from_now(seconds))),
        "created_at": now(),
    }


def _job_values(given: Source) -> dict[str, Any]:
    status, delay, expires_in = given("status"), cast(given("delay"), Float()), cast(given("expires_in"), Float())
    return {name: given(name) for name in _JOB if name not in ("eta", "expires_in", "expiry")} | {
        "due_at": case((status == JobStatus.SCHEDULED, time_of(delay, given("eta"))), else_=given("eta")),
        "dispatched_at": case((status == JobStatus.QUEUED, now())),
        "expires_at": case((expires_in.is_not(None), seconds_from_now(expires_in)), else_=given("expiry")),
        "created_at": now(),
    }


def _from(table: Any, values: Callable[[Source], dict[str, Any]]) -> tuple[list[str], Any]:
    """Return what ``INSERT … FROM SELECT`` takes: names, and a select of their values from the table."""
    found = values(lambda name: table.c[name])
    return list(found), select(*(value.label(name) for name, value in found.items())).select_from(table)


_workflows, _jobs = _unpacked("workflows", _WORKFLOW), _unpacked("jobs", _JOB)
_new_workflows = (
    postgresql.insert(WorkflowRow)
    .from_select(*_from(_workflows, _workflow_values))
    .on_conflict_do_nothing()
    .returning(WorkflowRow.id, WorkflowRow.created_at)
    .cte("new_workflows")
)
_names, _their_jobs = _from(_jobs, _job_values)
_START = Prepared(
    select(_new_workflows.c.id, _new_workflows.c.created_at).add_cte(
        insert(JobRow)
        .from_select(_names, _their_jobs.where(_jobs.c.workflow_id.in_(select(_new_workflows.c.id))))
        .cte("new_jobs")
    )
)
_ADD_JOBS = Prepared(insert(JobRow).from_select(_names, _their_jobs))
_INSERT_WORKFLOW = Prepared(
    sqlite.insert(WorkflowRow)
    .values(_workflow_values(_bound(_WORKFLOW)))
    .on_conflict_do_nothing()
    .returning(WorkflowRow.id, WorkflowRow.created_at)
)
_INSERT_JOB = Prepared(insert(JobRow).values(_job_values(_bound(_JOB))))


def insert_workflows(tx: Transaction, workflows: Sequence[Row], jobs: Sequence[Row]) -> dict[uuid.UUID, datetime]:
    """Write workflows with their jobs; returns the database's time of their writing, by the workflow's id.

    Those are left out whose id or key was there before: nothing of them is written.
    """
    if tx.connection.dialect.name == "postgresql":
        first, rest = jobs[:_MOST_JOBS], jobs[_MOST_JOBS:]
        written = _START.all(tx.connection, {"workflows": _packed(workflows), "jobs": _packed(first)})
    else:
        rest = jobs
        written = [row for workflow in workflows for row in _INSERT_WORKFLOW.all(tx.connection, workflow)]
    new = {row.id: row.created_at for row in written}
    insert_jobs(tx, [job for job in rest if job["workflow_id"] in new])
    return new


def insert_jobs(tx: Transaction, jobs: Sequence[Row]) -> None:
    """Write jobs of workflows that are there."""
    if tx.connection.dialect.name != "postgresql":
        _INSERT_JOB.each(tx.connection, jobs)
        return
    for begin in range(0, len(jobs), _MOST_JOBS):
        _ADD_JOBS.count(tx.connection, {"jobs": _packed(jobs[begin : begin + _MOST_JOBS])})


def is_one_statement(jobs: Sequence[Row]) -> bool:
    """Say whether ``insert_workflows`` writes these with one statement where the database can."""
    return len(jobs) <= _MOST_JOBS


def _packed(rows: Sequence[Row]) -> str:
    return json.dumps(rows, default=str, ensure_ascii=False, separators=(",", ":"))
