"""Columns, guards and values that several moves share."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from sqlalchemy import Integer, Uuid, and_, bindparam, func, literal, null, or_

from agentq.ledger.db.types import item_of
from agentq.ledger.models import JobRow
from agentq.ledger.records import Counts, Dispatch, columns_of
from agentq.outcomes import Failure
from agentq.states import JOB_OPEN, JobStatus

_BATCH = 500
"""Ids of one statement."""


def columns(names: Iterable[str], job: Any = JobRow) -> tuple[Any, ...]:
    """Return the columns of *job*, which may be an alias, by their names in ``JobRow``."""
    named = ((name, getattr(job, name)) for name in names)
    return tuple(column if column.name == name else column.label(name) for name, column in named)


DISPATCH = (*columns(columns_of(Dispatch)), JobRow.status, JobRow.blocked_on)
"""The columns of a ``Dispatch``, and those that say whether the job is queued or in which line it stands."""

DEAD: tuple[Any, ...] = (
    JobRow.id,
    JobRow.workflow_id,
    JobRow.join_id,
    JobRow.is_last,
    JobRow.part_id,
    JobRow.on_failure,
)
"""The columns that a job's failure for good needs."""

COUNTS = columns(columns_of(Counts))
"""The columns by which a policy decides whether a job is tried again."""

JOB_ID = bindparam("job_id", type_=Uuid())

IS_UNNAMED = and_(JobRow.limits.is_not(None), item_of(JobRow.limits, 0).is_(None))
"""A job that has limits, whose names need what the step before gives: they are made when that is known."""

MINE = and_(
    JobRow.id == JOB_ID,
    # Not "=": PostgreSQL would then take the small index of running jobs, and read all of it, not the key.
    JobRow.status.is_not_distinct_from(JobStatus.RUNNING),
    JobRow.attempt == bindparam("held_attempt", type_=Integer()),
)

MAY_END_NOW = or_(
    JobRow.status.in_(sorted(JOB_OPEN - {JobStatus.WAITING})),
    and_(JobRow.status == JobStatus.WAITING, JobRow.remaining == 0),
)
"""A job that waits for no other, or a fan-in that waits for the let-in alone. The transaction that ends it locks
it, and then the jobs that wait for it: so one that ends many jobs locks these first."""

FAILURE: dict[str, Any] = {
    "error_category": bindparam("category"),
    "error_class": bindparam("class_name"),
    "error_message": bindparam("message"),
}

REVIVED: dict[str, Any] = {
    "finished_at": null(),
    "deadline_at": null(),
    "expires_at": null(),  # a person who replays it wants it to run now
    "attempts_before": JobRow.attempt,
    "uncounted": 0,
    "deferrals": 0,
    "paused": 0.0,
    "deferred": 0.0,
    "due_reason": literal("replayed"),
    "blocked_by": null(),  # of a job that was cancelled while it was
    "max_attempts": JobRow.attempt + func.coalesce(bindparam("attempts", type_=Integer()), JobRow.allowance),
}
"""The values of a job that is replayed."""


def failure_values(failure: Failure) -> dict[str, str]:
    return {
        "category": failure.category,
        "class_name": failure.error_class,
        "message": failure.message,
    }


def batches(ids: Sequence[uuid.UUID]) -> Iterator[Sequence[uuid.UUID]]:
    """Give ids in the numbers that one statement takes."""
    return (ids[start : start + _BATCH] for start in range(0, len(ids), _BATCH))
