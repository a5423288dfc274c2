"""Retention: find workflows that ended long ago, and delete them in bounded batches.

A workflow is over when it has ended, none of its jobs will move by itself, and no dead letter waits for a person.
Such a workflow cannot come to life again, so what was found may be deleted later.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, Float, bindparam, delete, func, or_, select

from agentq.ledger.db.types import seconds_from_now
from agentq.ledger.models import Base, DeadLetterRow, HoldRow, JobRow, WorkflowRow
from agentq.ledger.transaction import Transaction
from agentq.states import JOB_MOVING, DeadLetterStatus, WorkflowStatus

PAGE = 200
"""Workflows of one page."""
_DELETED = 1_000
"""Rows that one statement deletes, beside what hangs on each."""

_LONG_AGO = seconds_from_now(-bindparam("older_than", type_=Float()))
_TENANT = bindparam("tenant", type_=WorkflowRow.tenant.type)
_IDS = bindparam("ids", expanding=True, type_=WorkflowRow.id.type)
_moves = (
    select(JobRow.id)
    .where(
        JobRow.workflow_id == WorkflowRow.id,
        or_(
            JobRow.status.in_(sorted(JOB_MOVING)),
            JobRow.held > 0,  # its row says which slots are to be given back
            select(HoldRow.id).where(HoldRow.job_id == JobRow.id).exists(),  # and so does this one
        ),
    )
    .exists()
)
_awaits_decision = (
    select(DeadLetterRow.id)
    .where(DeadLetterRow.workflow_id == WorkflowRow.id, DeadLetterRow.status == DeadLetterStatus.OPEN)
    .exists()
)
_IS_OVER = (WorkflowRow.finished_at < _LONG_AGO, ~_moves, ~_awaits_decision)
_jobs = select(func.count()).where(JobRow.workflow_id == WorkflowRow.id).scalar_subquery()
_letters = select(func.count()).where(DeadLetterRow.workflow_id == WorkflowRow.id).scalar_subquery()

_NEXT = (
    select(WorkflowRow.id)
    .where(
        WorkflowRow.status == bindparam("status", type_=WorkflowRow.status.type),
        WorkflowRow.id > bindparam("after", type_=WorkflowRow.id.type),
    )
    .order_by(WorkflowRow.id)
    .limit(PAGE)
)
_OVER = (
    select(WorkflowRow.id, _jobs.label("jobs"), _letters.label("dead_letters"))
    .where(WorkflowRow.id.in_(_IDS), or_(_TENANT.is_(None), WorkflowRow.tenant == _TENANT), *_IS_OVER)
    .order_by(WorkflowRow.id)
)
_LOCK = select(WorkflowRow.id).where(WorkflowRow.id.in_(_IDS), *_IS_OVER).with_for_update(skip_locked=True)
_DELETE_JOBS = delete(JobRow).where(
    JobRow.id.in_(select(JobRow.id).where(JobRow.workflow_id.in_(_IDS)).limit(_DELETED))
)
_DELETE_WORKFLOWS = delete(WorkflowRow).where(WorkflowRow.id.in_(_IDS))
_IS_CLOSED_MESSAGE = (
    DeadLetterRow.digest.is_not(None),
    DeadLetterRow.closed_at < _LONG_AGO,
    or_(_TENANT.is_(None), DeadLetterRow.tenant == _TENANT),
)
_messages = select(DeadLetterRow.id).where(*_IS_CLOSED_MESSAGE)
_COUNT_MESSAGES = select(func.count()).select_from(_messages.subquery())
# The condition is repeated: a letter that was opened again since the first query is seen by the second, and left.
_DELETE_MESSAGES = delete(DeadLetterRow).where(
    DeadLetterRow.id.in_(_messages.limit(_DELETED)), *_IS_CLOSED_MESSAGE
)


@dataclass(frozen=True, slots=True)
class Over:
    """A workflow that may be deleted, and what hangs on it."""

    id: uuid.UUID
    jobs: int
    dead_letters: int


@dataclass(frozen=True, slots=True)
class PrunePage:
    """One page of workflows to prune, and the id after which the next page begins; None after the last one."""

    found: tuple[Over, ...]
    after: uuid.UUID | None


def read_page(
    connection: Connection, status: WorkflowStatus, after: uuid.UUID, *, older_than: float, tenant: str | None
) -> PrunePage:
    """Return, of the next workflows of a status, those that were over *older_than* seconds ago."""
    ids = connection.scalars(_NEXT, {"status": status, "after": after}).all()
    values = {"ids": ids, "older_than": older_than, "tenant": tenant}
    found = connection.execute(_OVER, values) if ids else ()
    return PrunePage(
        tuple(Over(row.id, row.jobs, row.dead_letters) for row in found),
        ids[-1] if len(ids) == PAGE else None,
    )


def delete_workflows(tx: Transaction, ids: Sequence[uuid.UUID], *, older_than: float) -> set[uuid.UUID]:
    """Delete those of these workflows that are over, with all that hangs on them; returns their ids."""
    over = tx.connection.scalars(_LOCK, {"ids": ids, "older_than": older_than}).all()
    if over:
        while tx.connection.execute(_DELETE_JOBS, {"ids": over}).rowcount == _DELETED:
            pass
        tx.connection.execute(_DELETE_WORKFLOWS, {"ids": over})
    return set(over)


def count_messages(connection: Connection, *, older_than: float, tenant: str | None) -> int:
    """Count the dead letters of messages that were closed over *older_than* seconds ago."""
    return connection.scalar(_COUNT_MESSAGES, {"older_than": older_than, "tenant": tenant}) or 0


def delete_messages(tx: Transaction, *, older_than: float, tenant: str | None) -> int:
    """Delete up to a thousand of them; returns how many."""
    return tx.connection.execute(_DELETE_MESSAGES, {"older_than": older_than, "tenant": tenant}).rowcount


def empty(connection: Connection) -> None:
    """Delete all rows of the ledger, for a database that a test empties."""
    for table in reversed(Base.metadata.sorted_tables):
        connection.execute(delete(table))
