"""The world's effects on a ledger: time passes; and its state as seen from outside."""

from __future__ import annotations

import uuid

from sqlalchemy import and_, bindparam, case, func, or_, select, update

from agentq.ledger.db.session import Ledger
from agentq.ledger.db.types import Epoch, UtcDateTime, later, seconds_from_now
from agentq.ledger.models import AttemptRow, Base, DeadLetterRow, HoldRow, JobRow, WorkerRow, WorkflowRow
from agentq.ledger.transaction import Transaction
from agentq.states import MISSING_MEMBERS, AttemptOutcome, DeadLetterStatus, JobKind, JobStatus, WorkflowStatus

FAR = 1e8
"""Seconds after which nothing in these runs is due."""
LONG = 3_600.0
"""Seconds after which everything that waits for a time is due, and every message that is queued is overdue."""
_is_timed = and_(JobRow.deadline_at.is_not(None), JobRow.finished_at.is_(None))


_TIMES = {
    table: {
        column: column + bindparam("seconds")
        if isinstance(column.type, Epoch)
        else later(column, bindparam("seconds"))
        for column in table.columns
        if isinstance(column.type, (UtcDateTime, Epoch)) and column.name != "scheduled_for"
    }
    for table in Base.metadata.sorted_tables
    if table.name != "agentq_schedules"  # ticks are times of the calendar, and keys name them
}
_MAKE_LATER = [update(table).values(times) for table, times in _TIMES.items() if times]


def make_later(ledger: Ledger, seconds: float) -> None:
    """Make all times in the ledger so much later, as if all that wrote them had."""

    def shift(tx: Transaction) -> None:
        for statement in _MAKE_LATER:
            tx.connection.execute(statement, {"seconds": seconds})

    ledger.write(shift)


def let_time_pass(ledger: Ledger, living: uuid.UUID) -> None:
    """Let LONG seconds pass for all but the worker *living*, which renews its lease meanwhile."""

    def age(tx: Transaction) -> None:
        of_status = update(JobRow).where
        past = seconds_from_now(-LONG)
        soon = JobRow.due_at < seconds_from_now(FAR / 2)
        tx.connection.execute(of_status(JobRow.status == JobStatus.SCHEDULED, soon).values(due_at=past))
        tx.connection.execute(of_status(JobRow.kind == JobKind.JOIN, _is_timed).values(deadline_at=past))
        tx.connection.execute(of_status(JobRow.status == JobStatus.QUEUED).values(dispatched_at=past))
        left = select(AttemptRow.job_id).where(AttemptRow.outcome == AttemptOutcome.RELEASED)
        times = {name: later(getattr(AttemptRow, name), -LONG) for name in ("started_at", "finished_at")}
        tx.connection.execute(update(AttemptRow).where(AttemptRow.job_id.in_(left)).values(times))
        late = update(DeadLetterRow).where(DeadLetterRow.dispatched_at.is_not(None))
        tx.connection.execute(late.values(dispatched_at=past))
        tx.connection.execute(update(WorkerRow).where(WorkerRow.id != living).values(lease_until=past))

    ledger.write(age)


def is_over(ledger: Ledger, workflows: int) -> bool:
    """Say whether there are so many workflows, all have ended, and so has all that dead letters led to.

    No slot is held by then: a caretaker frees that of a lost call, which nothing need have waited for.
    """
    running = func.count().filter(WorkflowRow.status == WorkflowStatus.RUNNING)
    left = select(func.count()).where(
        or_(DeadLetterRow.handled_at.is_(None), DeadLetterRow.status == DeadLetterStatus.OPEN)
    )
    held = select(func.count()).select_from(HoldRow)
    query = select(func.count(), running, left.scalar_subquery(), held.scalar_subquery())
    return ledger.read(lambda connection: tuple(connection.execute(query).one())) == (workflows, 0, 0, 0)


ABOUT = case((DeadLetterRow.error_category == MISSING_MEMBERS, WorkflowRow.key), else_=DeadLetterRow.step)
"""The name of a dead letter: its step, or for a fan-in with missing members the workflow's key."""


def open_letters(ledger: Ledger) -> list[tuple[uuid.UUID, str]]:
    """Return of the dead letters that handlers were called with and no process has closed id and ABOUT."""
    is_open = (DeadLetterRow.handled_at.is_not(None), DeadLetterRow.status == DeadLetterStatus.OPEN)
    query = select(DeadLetterRow.id, ABOUT.label("about")).join(WorkflowRow).where(*is_open)
    found = query.order_by(DeadLetterRow.id)
    return ledger.read(lambda connection: [(row.id, row.about) for row in connection.execute(found)])
