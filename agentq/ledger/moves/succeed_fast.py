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

from enum import Enum, auto
from typing import NamedTuple

from sqlalchemy import (
    CTE,
    Integer,
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

from agentq.ledger.after_commit import Admit, GiveBack
from agentq.ledger.db.statement import Prepared, WhileExecuting
from agentq.ledger.db.types import AnyRow, UtcDateTime, now
from agentq.ledger.history import ending
from agentq.ledger.models import JobRow, WorkflowRow
from agentq.ledger.moves.attempt import SUCCEED
from agentq.ledger.moves.postponed import awaited_line
from agentq.ledger.moves.ready import AFTER_OTHERS
from agentq.ledger.moves.shared import DISPATCH
from agentq.ledger.moves.slot_handover import freeing_slot, handing_slot_over
from agentq.ledger.moves.workflow import let_next_in
from agentq.ledger.records import Claim
from agentq.ledger.transaction import Transaction
from agentq.states import AttemptOutcome, JobStatus, WorkflowStatus


class _Statements(NamedTuple):
    """The completion of a job by what comes after it; each CTE costs time, so a job has only those that it
    needs."""

    last: Prepared
    before_another: Prepared
    into_join: Prepared


class _Slot(Enum):
    """The slot of one limit that the job holds: the next in its line takes it over, or it is freed."""

    HANDED_OVER = auto()
    FREED = auto()


def _statements(slot: _Slot | None) -> _Statements:
    succeed = SUCCEED if slot is None else SUCCEED.values(held=0)
    done = succeed.returning(JobRow.id, JobRow.workflow_id, JobRow.join_id, JobRow.is_last).cte("done")
    counted = _counted(done)
    joined = select(counted).where(counted.c.status == JobStatus.SUCCEEDED).cte("joined")
    readied_by_job = _readied_by(done, "readied_by_job")
    readied_by_join = _readied_by(joined, "readied_by_join")

    def completing(*readied: CTE, ended: CTE | None = None) -> Prepared:
        columns, ctes = [done.c.id.label("done_id")], [_history(done)]
        if ended is not None:
            columns.append(awaited_line(select(ended.c.tenant).scalar_subquery()).label("line"))
        if slot is not None:
            freed = freeing_slot(done)
            if slot is _Slot.HANDED_OVER:
                admitted, turned, freed = handing_slot_over(done)
                readied, ctes = (*readied, admitted), [*ctes, turned]
            columns.append(select(freed.c.is_awaited).scalar_subquery().label("is_awaited"))
        if not readied:
            return Prepared(select(*columns).add_cte(*ctes))
        all_readied = readied[0] if len(readied) == 1 else union_all(*map(select, readied)).cte("readied")
        found = select(*columns, *all_readied.c).select_from(done.outerjoin(all_readied, true()))
        return Prepared(found.add_cte(*ctes))

    return _Statements(
        last=completing(ended=_ended_by(done, "ended_by_job")),
        before_another=completing(readied_by_job),
        into_join=completing(readied_by_job, readied_by_join, ended=_ended_by(joined, "ended_by_join")),
    )


def _history(done: CTE) -> CTE:
    return ending(
        select(
            done.c.id.label("job_id"),
            bindparam("held_attempt", type_=Integer()).label("number"),
            cast(AttemptOutcome.SUCCEEDED, String(16)).label("outcome"),
            bindparam("by_worker", type_=Uuid()).label("worker_id"),
            bindparam("began_at", type_=UtcDateTime()).label("started_at"),
        )
    ).cte("history")


def _counted(done: CTE) -> CTE:
    # Rows are named by scalar subqueries, never by a join: so each is found by its index, also by a plan that was
    # made when the tables were empty.
    return (
        update(JobRow)
        .where(JobRow.id == select(done.c.join_id).scalar_subquery(), JobRow.status == JobStatus.WAITING)
        .values(
            remaining=JobRow.remaining - 1,
            status=case((JobRow.remaining == 1, JobStatus.SUCCEEDED), else_=JobRow.status),
            finished_at=case((JobRow.remaining == 1, now())),
        )
        .returning(JobRow.id, JobRow.workflow_id, JobRow.is_last, JobRow.status)
        .cte("counted")
    )


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
        .returning(WorkflowRow.tenant)
        .cte(name)
    )


_WITHOUT_SLOT, _HANDING_OVER, _FREEING = map(_statements, (None, _Slot.HANDED_OVER, _Slot.FREED))


def succeed_fast(
    tx: Transaction,
    claimed: Claim,
    result: str,
    while_executing: WhileExecuting | None = None,
    more_tokens: int = 0,
) -> list[AnyRow] | None:
    """Running to succeeded, with history, hand-over and the workflow's end, in one statement.

    For jobs with ``is_plain``, on PostgreSQL. Returns the columns of DISPATCH for each job that became ready, or
    None where this attempt no longer owns the job. *while_executing* is as in ``Prepared.all``; *more_tokens* are
    those used beyond the reserved ones, of a job with one limit.
    """
    values = {"job_id": claimed.job_id, "held_attempt": claimed.attempt, "new_result": result}
    values |= {"by_worker": claimed.worker_id, "began_at": claimed.started_at}
    limits, statements = claimed.limits or [], _WITHOUT_SLOT
    if len(limits) == 1:
        statements = _FREEING if claimed.has_paid else _HANDING_OVER
        values |= {"limit": limits[0], "more_tokens": more_tokens}
    if claimed.is_last:
        statement = statements.last
    else:
        statement = statements.before_another if claimed.join_id is None else statements.into_join
    rows = statement.all(tx.connection, values, while_executing)
    if not rows:
        return None
    let_next_in(tx, getattr(rows[0], "line", None))
    if len(limits) > 1:
        tx.then(GiveBack(claimed.job_id))
    elif limits and rows[0].is_awaited:  # by a job that this statement did not see, or that needs other limits too
        tx.then(Admit(limits[0]))
    # In the order of the canvas; RETURNING has none.
    return sorted((row for row in rows if getattr(row, "id", None) is not None), key=lambda row: row.id)
