"""The common hand-over as one statement, for PostgreSQL.

Most jobs lead to steps, to one fan-in before steps, or to the end of their workflow; their rows have ``is_plain``.
For these the whole hand-over is one statement of several CTEs, each of which takes its rows from the one before:
``done`` is the guarded UPDATE of the attempt, ``history`` inserts the attempt's end, ``counted`` counts the fan-in
down, ``joined`` has that fan-in if it is complete, ``readied_by_…`` makes the next jobs ready, and ``ended_by_…``
ends the workflow. If the guard finds no row, then no other CTE has one either. All CTEs read one snapshot, so
none sees a row as another one has changed it: values go from one CTE to the next by RETURNING alone. The statement
commits by itself, which saves two round trips, and its locks last no longer than it runs.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    CTE,
    Integer,
    Select,
    String,
    Uuid,
    bindparam,
    case,
    cast,
    select,
    true,
    union_all,
    update,
)

from agentq.ledger.db.statement import Prepared, WhileExecuting
from agentq.ledger.db.types import AnyRow, UtcDateTime, now
from agentq.ledger.history import ending
from agentq.ledger.models import JobRow, WorkflowRow
from agentq.ledger.moves.attempt import SUCCEED
from agentq.ledger.moves.ready import AFTER_OTHERS
from agentq.ledger.moves.shared import DISPATCH
from agentq.ledger.records import Claim
from agentq.ledger.transaction import Transaction
from agentq.states import AttemptOutcome, JobStatus, WorkflowStatus

_done = SUCCEED.returning(JobRow.id, JobRow.workflow_id, JobRow.join_id, JobRow.is_last).cte("done")
_history = ending(
    select(
        _done.c.id.label("job_id"),
        bindparam("held_attempt", type_=Integer()).label("number"),
        cast(AttemptOutcome.SUCCEEDED, String(16)).label("outcome"),
        bindparam("by_worker", type_=Uuid()).label("worker_id"),
        bindparam("began_at", type_=UtcDateTime()).label("started_at"),
    )
).cte("history")
# Rows are named by scalar subqueries, never by a join: so each is found by its index, also by a plan that was
# made when the tables were empty.
_counted = (
    update(JobRow)
    .where(
        JobRow.id == select(_done.c.join_id).scalar_subquery(),
        JobRow.status == JobStatus.WAITING,
    )
    .values(
        remaining=JobRow.remaining - 1,
        status=case((JobRow.remaining == 1, JobStatus.SUCCEEDED), else_=JobRow.status),
        finished_at=case((JobRow.remaining == 1, now())),
    )
    .returning(JobRow.id, JobRow.workflow_id, JobRow.is_last, JobRow.status)
    .cte("counted")
)
_joined = select(_counted).where(_counted.c.status == JobStatus.SUCCEEDED).cte("joined")


def _readied_by(done: CTE, name: str) -> CTE:
    waits_for = select(done.c.id).scalar_subquery()
    return (
        update(JobRow)
        .where(JobRow.after_id == waits_for, JobRow.status == JobStatus.WAITING)
        .values(AFTER_OTHERS)
        .returning(*DISPATCH)
        .cte(name)
    )


def _ended_by(done: CTE, name: str) -> CTE:
    ended = select(done.c.workflow_id).where(done.c.is_last).scalar_subquery()
    return (
        update(WorkflowRow)
        .where(WorkflowRow.id == ended, WorkflowRow.status == WorkflowStatus.RUNNING)
        .values(status=WorkflowStatus.SUCCEEDED, finished_at=now())
        .cte(name)
    )


_readied_by_job = _readied_by(_done, "readied_by_job")
_readied = union_all(select(_readied_by_job), select(_readied_by(_joined, "readied_by_join"))).cte("readied")


def _handing_over_to(readied: CTE) -> Select[Any]:
    return select(_done.c.id.label("done_id"), *readied.c).select_from(_done.outerjoin(readied, true()))


# Each CTE of a statement costs time, also where it finds nothing to do: so a job has only those that it needs.
_SUCCEED_LAST = Prepared(select(_done.c.id).add_cte(_history, _ended_by(_done, "ended_by_job")))
_SUCCEED_BEFORE_ANOTHER = Prepared(_handing_over_to(_readied_by_job).add_cte(_history))
_SUCCEED_INTO_JOIN = Prepared(_handing_over_to(_readied).add_cte(_history, _ended_by(_joined, "ended_by_join")))


def succeed_fast(
    tx: Transaction, claimed: Claim, result: str, while_executing: WhileExecuting | None = None
) -> list[AnyRow] | None:
    """Running to succeeded, with history, hand-over and the workflow's end, in one statement.

    For jobs with ``is_plain``, on PostgreSQL. Returns the columns of DISPATCH for each job that became ready, or
    None where this attempt no longer owns the job. *while_executing* is as in ``Prepared.all``.
    """
    values = {"job_id": claimed.job_id, "held_attempt": claimed.attempt, "new_result": result}
    values |= {"by_worker": claimed.worker_id, "began_at": claimed.started_at}
    if claimed.is_last:
        return [] if _SUCCEED_LAST.all(tx.connection, values, while_executing) else None
    statement = _SUCCEED_BEFORE_ANOTHER if claimed.join_id is None else _SUCCEED_INTO_JOIN
    rows = statement.all(tx.connection, values, while_executing)
    # In the order of the canvas; RETURNING has none.
    return sorted((row for row in rows if row.id is not None), key=lambda row: row.id) if rows else None
