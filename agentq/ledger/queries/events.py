"""Events of a workflow: the reports of its steps, and the ends of their attempts, which the history has already.

Reports of steps have numbers that are committed in their order. The ends of attempts have only their times, which
may be committed out of order; so a reader keeps the number of ends that it has read, and reads the last of these
again. If that is another one now, an end was committed before it, and the ends of the minute before it are read
once more.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, bindparam, func, select

from agentq.ledger.db.types import AnyRow, UtcDateTime, later
from agentq.ledger.models import AttemptRow, EventRow, JobRow
from agentq.ledger.queries import workflows

_LATEST_COMMIT = 60.0
"""Seconds between the time of an attempt's end and its commit, at most: the ledger's own time-outs are shorter."""

_WORKFLOW = bindparam("workflow", type_=EventRow.workflow_id.type)
_ENDED_AT = bindparam("ended_at", type_=UtcDateTime())
_REPORTED = (
    select(EventRow.number, EventRow.job_id, JobRow.step, EventRow.attempt, EventRow.kind, EventRow.data)
    .add_columns(EventRow.created_at)
    .join(JobRow, JobRow.id == EventRow.job_id)
    .where(EventRow.workflow_id == _WORKFLOW, EventRow.number > bindparam("after"))
    .order_by(EventRow.number)
    .limit(bindparam("limit"))
)
_ENDED = (
    select(AttemptRow.job_id, JobRow.step, AttemptRow.number, AttemptRow.outcome, AttemptRow.finished_at)
    .add_columns(AttemptRow.error_category)
    .join(JobRow, JobRow.id == AttemptRow.job_id)
    .where(JobRow.workflow_id == _WORKFLOW)
    .order_by(AttemptRow.finished_at, AttemptRow.job_id, AttemptRow.number)
    .offset(bindparam("skipped"))
    .limit(bindparam("limit"))
)
_COUNT_ENDED = (
    select(func.count())
    .select_from(AttemptRow)
    .join(JobRow, JobRow.id == AttemptRow.job_id)
    .where(JobRow.workflow_id == _WORKFLOW, AttemptRow.finished_at <= later(_ENDED_AT, -_LATEST_COMMIT))
)


@dataclass(frozen=True, slots=True)
class Ended:
    """The reader's position among the ends of attempts: their number, and the time of the last one."""

    count: int = 0
    ended_at: datetime | None = None


NOTHING_ENDED = Ended()


@dataclass(frozen=True, slots=True)
class Page:
    """The workflow, and what is new of it for one reader."""

    workflow: AnyRow
    reported: list[AnyRow]
    skipped: int
    """The number of ends of attempts before those that were read."""
    ended: list[AnyRow]


def page_after(
    connection: Connection, workflow_id: uuid.UUID, number: int, position: Ended, limit: int
) -> Page | None:
    """Return up to *limit* events after that number, and as many ends after that position.

    None where there is no such workflow.
    """
    # The workflow first: where it has ended, what is read after that is all there is.
    workflow = workflows.get(connection, workflow_id)
    if workflow is None:
        return None
    reported = events_after(connection, workflow_id, number, limit)
    return Page(workflow, reported, *ended_after(connection, workflow_id, position, limit))


def events_after(connection: Connection, workflow_id: uuid.UUID, number: int, limit: int) -> list[AnyRow]:
    """Return up to *limit* of the events after that number, in their order."""
    return list(connection.execute(_REPORTED, {"workflow": workflow_id, "after": number, "limit": limit}))


def ended_after(
    connection: Connection, workflow_id: uuid.UUID, position: Ended, limit: int
) -> tuple[int, list[AnyRow]]:
    """Return up to *limit* ends of attempts after that position, oldest first, and the number before them.

    Some may have been read before, where one was committed later than its time.
    """
    skipped = position.count
    if position.ended_at is not None:
        last = _ended(connection, workflow_id, skipped - 1, 1)
        if not last or last[0].finished_at != position.ended_at:
            values = {"workflow": workflow_id, "ended_at": position.ended_at}
            skipped = connection.scalar(_COUNT_ENDED, values) or 0
    return skipped, _ended(connection, workflow_id, skipped, limit)


def _ended(connection: Connection, workflow_id: uuid.UUID, skipped: int, limit: int) -> list[AnyRow]:
    values = {"workflow": workflow_id, "skipped": skipped, "limit": limit}
    return list(connection.execute(_ENDED, values))
