"""The inserts of new workflows and jobs: on PostgreSQL one statement, however many there are."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, TypedDict

from sqlalchemy import Float, Integer, Text, bindparam, case, cast, column, func, insert, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.types import TypeEngine

from agentq.ledger.backlog import CONDITIONS, Guard, Postponement, Room
from agentq.ledger.db.statement import Prepared
from agentq.ledger.db.types import AnyRow, UtcDateTime, now, seconds_from_now
from agentq.ledger.models import JobRow, WorkflowRow
from agentq.ledger.moves.ready import rank, time_of
from agentq.ledger.transaction import Transaction
from agentq.states import BlockedBy, JobKind, JobStatus, WorkflowStatus


class NewWorkflow(TypedDict):
    """A workflow that is to be written."""

    id: uuid.UUID
    tenant: str
    name: str
    status: WorkflowStatus
    key: str | None
    fingerprint: str
    result_job_id: uuid.UUID
    policy: str | None
    terms: str | None
    caps: str | None
    deadline: float | None


class NewJob(TypedDict):
    """A job that is to be written; a column that is not named here begins with its default."""

    id: uuid.UUID
    workflow_id: uuid.UUID
    tenant: str
    kind: JobKind
    step: str
    status: JobStatus
    limits: list[str] | None
    tokens: list[int] | None
    pays: bool
    is_counted: bool
    blocked_by: BlockedBy | None
    blocked_on: str | None
    after_id: uuid.UUID | None
    join_id: uuid.UUID | None
    position: int | None
    remaining: int
    needs: str | None
    part_id: uuid.UUID | None
    on_failure: str
    is_last: bool
    is_plain: bool
    arguments: str | None
    immutable: bool
    queue: str
    priority: int | None
    timeout: float | None
    hard_timeout: float | None
    max_attempts: int
    allowance: int
    delay: float | None
    deadline: float | None
    eta: datetime | None
    expires_in: float | None
    expiry: datetime | None


Source = Callable[[str], Any]
"""The source of a row's value, by its name."""
Types = dict[str, TypeEngine[Any]]
"""The SQL types of a row's values, by their names."""

_MOST_JOBS = 1_000
"""Jobs of one statement, so that a large start needs no large memory."""
_WORKFLOW_TIMES: Types = {"deadline": Float()}
_JOB_TIMES: Types = {"eta": UtcDateTime(), "expires_in": Float(), "expiry": UtcDateTime()}
"""Values that are in no column: the database makes times of them by its clock."""


def _types(row: type[Any], table: Any, times: Types) -> Types:
    """Return the SQL types of a new row's values: those of their columns, but for *times*."""
    columns = table.__table__.columns
    return {name: times[name] if name in times else columns[name].type for name in row.__annotations__}


_WORKFLOW = _types(NewWorkflow, WorkflowRow, _WORKFLOW_TIMES)
_JOB = _types(NewJob, JobRow, _JOB_TIMES)


def _bound(types: Types) -> Source:
    return lambda name: bindparam(name, type_=types[name])


def _unpacked(parameter: str, types: Types) -> Any:
    """Many rows as one parameter: PostgreSQL makes a table of JSON."""
    packed = cast(bindparam(parameter, type_=Text()), postgresql.JSON)
    columns = [column(name, kind) for name, kind in types.items()]
    return func.json_to_recordset(packed).table_valued(*columns, name=parameter).render_derived(with_types=True)


def _workflow_values(given: Source) -> dict[str, Any]:
    seconds = cast(given("deadline"), Float())
    return {name: given(name) for name in _WORKFLOW if name not in _WORKFLOW_TIMES} | {
        "deadline_at": case((seconds.is_not(None), seconds_from_now(seconds))),
        "created_at": now(),
    }


_POSTPONED = {
    "postponed_on": bindparam("line", type_=Text()),
    "max_open": bindparam("max_open", type_=Integer()),
    "max_backlog": bindparam("max_backlog", type_=Integer()),
}
"""More values of workflows that are postponed: the same for all of one statement."""


def _job_values(given: Source) -> dict[str, Any]:
    status, delay, expires_in = given("status"), cast(given("delay"), Float()), cast(given("expires_in"), Float())
    return {name: given(name) for name in _JOB if name not in _JOB_TIMES} | {
        "due_at": case((status == JobStatus.SCHEDULED, time_of(delay, given("eta"))), else_=given("eta")),
        "dispatched_at": case((status == JobStatus.QUEUED, now())),
        "expires_at": case((expires_in.is_not(None), seconds_from_now(expires_in)), else_=given("expiry")),
        "rank_at": case((given("limits").is_not(None), rank(given("workflow_id"), given("priority")))),
        "created_at": now(),
    }


def _from(table: Any, values: Callable[[Source], dict[str, Any]]) -> tuple[list[str], Any]:
    """Return what ``INSERT … FROM SELECT`` takes: names, and a select of their values from the table."""
    found = values(lambda name: table.c[name])
    return list(found), select(*(value.label(name) for name, value in found.items())).select_from(table)


_workflows, _jobs = _unpacked("workflows", _WORKFLOW), _unpacked("jobs", _JOB)
_names, _their_jobs = _from(_jobs, _job_values)


def _start(guard: Guard) -> Prepared:
    """The insert of many workflows with their jobs, for PostgreSQL."""
    values = _workflow_values(lambda name: _workflows.c[name])
    new_workflows = _new(postgresql, guard, values, _workflows).cte("new_workflows")
    theirs = _their_jobs.where(_jobs.c.workflow_id.in_(select(new_workflows.c.id)))
    new_jobs = insert(JobRow).from_select(_names, theirs).cte("new_jobs")
    return Prepared(select(new_workflows.c.id, new_workflows.c.created_at).add_cte(new_jobs))


def _new(dialect: Any, guard: Guard, values: dict[str, Any], *table: Any) -> Any:
    if guard is Guard.POSTPONE:
        values = values | _POSTPONED
    those = select(*(value.label(name) for name, value in values.items())).select_from(*table)
    asked = dialect.insert(WorkflowRow).from_select(list(values), those.where(CONDITIONS[guard]))
    return asked.on_conflict_do_nothing().returning(WorkflowRow.id, WorkflowRow.created_at)


_START = {guard: _start(guard) for guard in Guard}
_ADD_JOBS = Prepared(insert(JobRow).from_select(_names, _their_jobs))
_INSERT_WORKFLOW = {guard: Prepared(_new(sqlite, guard, _workflow_values(_bound(_WORKFLOW)))) for guard in Guard}
_INSERT_JOB = Prepared(insert(JobRow).values(_job_values(_bound(_JOB))))


def insert_workflows(
    tx: Transaction,
    workflows: Sequence[NewWorkflow],
    jobs: Sequence[NewJob],
    guard: Guard,
    room: Room,
    postponement: Postponement | None = None,
) -> dict[uuid.UUID, datetime]:
    """Write workflows with their jobs; returns the database's time of their writing, by the workflow's id.

    Those are left out whose id or key was there before: nothing of them is written. None is where the *guard* says
    no, as it does where their tenant has no *room* for all. The guard that postpones needs the *postponement*.
    """
    if tx.connection.dialect.name == "postgresql":
        first, rest = jobs[:_MOST_JOBS], jobs[_MOST_JOBS:]
        values = {"workflows": _packed(workflows), "jobs": _packed(first), **_asked(room, postponement)}
        written = _START[guard].all(tx.connection, values)
    else:
        rest, written = jobs, _insert_each(tx, workflows, guard, _asked(room, postponement))
    new = {row.id: row.created_at for row in written}
    insert_jobs(tx, [job for job in rest if job["workflow_id"] in new])
    return new


def _asked(room: Room, postponement: Postponement | None) -> dict[str, Any]:
    return (
        {**room}
        if postponement is None
        else {**room, "line": postponement.line, "max_backlog": postponement.max_backlog}
    )


def _insert_each(
    tx: Transaction, workflows: Sequence[NewWorkflow], guard: Guard, asked: dict[str, Any]
) -> list[AnyRow]:
    written: list[AnyRow] = []
    for workflow in workflows:
        # Those that were written are open by now.
        places = asked["places"] - len(written)
        written += _INSERT_WORKFLOW[guard].all(tx.connection, {**workflow, **asked, "places": places})
    return written


def insert_jobs(tx: Transaction, jobs: Sequence[NewJob]) -> None:
    """Write jobs of workflows that are there."""
    if tx.connection.dialect.name != "postgresql":
        _INSERT_JOB.each(tx.connection, jobs)
        return
    for begin in range(0, len(jobs), _MOST_JOBS):
        _ADD_JOBS.count(tx.connection, {"jobs": _packed(jobs[begin : begin + _MOST_JOBS])})


def is_one_statement(jobs: Sequence[NewJob]) -> bool:
    """Say whether ``insert_workflows`` writes these with one statement where the database can."""
    return len(jobs) <= _MOST_JOBS


def _packed(rows: Sequence[NewWorkflow] | Sequence[NewJob]) -> str:
    return json.dumps(rows, default=str, ensure_ascii=False, separators=(",", ":"))
