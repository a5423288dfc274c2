"""The work of a caretaker, found by one query, however many duties it has."""

from __future__ import annotations

import uuid
from enum import StrEnum

from sqlalchemy import Connection, or_, select

from agentq.ledger import dead_letter_tasks, moves
from agentq.ledger.caretaking import expiry, redelivery, rescues
from agentq.ledger.models import DeadLetterRow, HoldRow, JobRow, LimitRow, ScheduleRow, WorkflowRow
from agentq.ledger.moves import schedules


class Work(StrEnum):
    """A kind of work that the ledger has for a caretaker."""

    DUE = "due"
    """A job's time has come."""
    RUNNING = "running"
    """This worker runs a job, or the ledger says so."""
    UNCLAIMED = "unclaimed"
    """No worker has claimed a job; its message may be lost."""
    LOST = "lost"
    """The lease of a worker that ran a job is over."""
    OVERDUE = "overdue"
    """A deadline or an expiry has passed."""
    SLOTS = "slots"
    """A limit has a free slot that jobs may wait for, or is to be given one back."""
    PACE = "pace"
    """A limit has jobs that wait for a time, and no caretaker that admits them then."""
    BLOCKED = "blocked"
    """A job waits for a limit."""
    POSTPONED = "postponed"
    """A workflow waits until there is room for it."""
    LETTERS = "letters"
    """A dead letter is to be recorded."""
    TICKS = "ticks"
    """A tick of a schedule has come, or one is owed that may begin, or the end of a pause has come."""


# Each question is answered by an index of open rows only: its cost does not depend on the rows that are done.
_FIND_WORK = select(
    select(JobRow.id).where(moves.DUE).exists().label(Work.DUE),
    select(JobRow.id).where(rescues.RUNNING_ON).exists().label(Work.RUNNING),
    redelivery.UNCLAIMED_QUEUES.exists().label(Work.UNCLAIMED),
    moves.LOST_WORKERS.exists().label(Work.LOST),
    or_(
        select(JobRow.id).where(moves.OVERDUE).exists(),
        expiry.EXPIRED.exists(),
        expiry.OVERDUE_WORKFLOWS.exists(),
    ).label(Work.OVERDUE),
    or_(
        select(JobRow.id).where(moves.SPENT).exists(),
        select(HoldRow.id).where(moves.SPENT_HOLD).exists(),
        select(LimitRow.name).where(moves.HAS_ROOM).exists(),
    ).label(Work.SLOTS),
    select(LimitRow.name).where(moves.UNPACED).exists().label(Work.PACE),
    select(JobRow.id).where(moves.BLOCKED_BY_LIMIT).exists().label(Work.BLOCKED),
    select(WorkflowRow.id).where(moves.POSTPONED).exists().label(Work.POSTPONED),
    select(DeadLetterRow.id).where(dead_letter_tasks.TO_ISSUE).exists().label(Work.LETTERS),
    or_(
        select(ScheduleRow.id).where(schedules.IS_DUE).exists(),
        select(ScheduleRow.id).where(schedules.MAY_BEGIN).exists(),
        select(ScheduleRow.id).where(schedules.PAUSE_IS_OVER).exists(),
    ).label(Work.TICKS),
)


def find_work(connection: Connection, worker_id: uuid.UUID, grace: float) -> set[Work]:
    """Return the kinds of work that the caretaker of a worker has now, with one statement, which only reads.

    *grace* is the number of seconds that a message may be on its way before its job is checked.
    """
    row = connection.execute(_FIND_WORK, {"worker": worker_id, "grace": grace}).one()
    return {work for work in Work if row._mapping[work]}
