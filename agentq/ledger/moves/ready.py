"""The one place where a job becomes ready, and the one where it gets the time at which it is due.

A job that is ready is queued and dispatched; one whose time is to come is scheduled, and becomes ready when a
caretaker finds that it is due.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import and_, case, false, func, null, or_, select

from agentq.ledger.db.types import item_of, later, now, seconds_from_now
from agentq.ledger.models import JobRow, WorkflowRow
from agentq.states import FAN_INS, MIDDLE_PRIORITY, BlockedBy, JobKind, JobStatus

_PRIORITY_STEP = 60.0
"""Seconds by which a job comes earlier for each step of its priority."""

PLACE = (JobRow.rank_at, JobRow.workflow_id, JobRow.id)
"""The order of a tenant's jobs in a line. Of workflows of one rank, such as those that one transaction starts, the
first one is finished first: it may have later jobs than the others, such as the branches of an ``each``."""

# A job may hold some of its slots still: one that kept them while it was blocked, was cancelled, and is replayed.
_next_limit = item_of(JobRow.limits, JobRow.held)
_is_limited = _next_limit.is_not(None)


def _ready(*unless: tuple[Any, Any]) -> dict[str, Any]:
    """*unless* are conditions with the status that a job has in place of being ready."""
    others = [(condition, null()) for condition, _ in unless]
    return {
        "status": case(*unless, (_is_limited, JobStatus.BLOCKED), else_=JobStatus.QUEUED),
        "blocked_by": case(*others, (_is_limited, BlockedBy.LIMIT)),
        "blocked_on": case(*others, (_is_limited, _next_limit)),
        "dispatched_at": now(),
        "dispatches": 0,
    }


READY: dict[str, Any] = _ready()
"""The values that make a job ready: queued, or blocked by the first limit of which it holds no slot."""
ADMITTED: dict[str, Any] = {
    "status": JobStatus.QUEUED,
    "dispatched_at": now(),  # and ``dispatches`` stays: of a job that was taken back, it counts that
    "refused": 0,
    "blocked_by": null(),
    "blocked_on": null(),
}
"""The values that make a blocked job ready, once it has a slot of each of its limits."""


def in_line_of(limit: Any) -> dict[str, Any]:
    """Return the values that let a job, which gives its slots back, stand in the line of a limit."""
    return {
        "status": JobStatus.BLOCKED,
        "blocked_by": BlockedBy.LIMIT,
        "blocked_on": limit,
        "held": 0,
        "dispatched_at": now(),
        "dispatches": 0,
    }


def rank(workflow_id: Any, priority: Any) -> Any:
    """Return the place of a job in its lines: the start of its workflow, earlier for each step of priority."""
    # A workflow that this very statement writes is not seen by it, and starts now.
    started = select(WorkflowRow.created_at).where(WorkflowRow.id == workflow_id).scalar_subquery()
    return later(func.coalesce(started, now()), -_PRIORITY_STEP * func.coalesce(priority, MIDDLE_PRIORITY))


def due(at: Any) -> dict[str, Any]:
    """Return the values that make a job due at a time."""
    return {"status": JobStatus.SCHEDULED, "due_at": at}


def ready_or_due(is_due_later: Any, at: Any) -> dict[str, Any]:
    """Return the values that make a job ready, or due at a time where that is to come."""
    return due(at) | _ready((is_due_later, JobStatus.SCHEDULED))


def due_or_waiting(is_ready: Any, at: Any) -> dict[str, Any]:
    """Return the values that make a job due at a time where nothing before it is undone, or else let it wait."""
    return {
        "status": case((is_ready, JobStatus.SCHEDULED), else_=JobStatus.WAITING),
        "due_at": case((is_ready, at), else_=JobRow.due_at),
    }


def due_if_ready() -> dict[str, Any]:
    """Return the values that make a job due at once where it is ready, and leave the time of others."""
    is_postponed = and_(JobRow.status == JobStatus.BLOCKED, JobRow.blocked_by == BlockedBy.BACKLOG)
    is_ready = and_(
        JobRow.status.in_([JobStatus.QUEUED, JobStatus.BLOCKED]), ~func.coalesce(is_postponed, false())
    )
    return {
        "status": case((is_ready, JobStatus.SCHEDULED), else_=JobRow.status),
        "due_at": case((is_ready, now()), else_=JobRow.due_at),
        "blocked_by": case((is_postponed, JobRow.blocked_by)),
        "blocked_on": null(),
    }


def time_of(delay: Any, eta: Any) -> Any:
    """Return when a job is due that may have a delay, in seconds, or a time of its own."""
    return case((delay.is_not(None), seconds_from_now(delay)), else_=eta)


def first_status(delay: float | None, eta: str | None, limits: Sequence[str] = ()) -> JobStatus:
    """Return how a job begins that waits for no other, as AFTER_OTHERS decides it for one that has waited.

    A start decides it before it writes, without the database's clock: so it schedules a job whose time has passed.
    """
    if delay is not None or eta is not None:
        return JobStatus.SCHEDULED
    return JobStatus.BLOCKED if limits else JobStatus.QUEUED


# A sleep whose time has passed is due at once, and never queued.
_is_due_later = or_(JobRow.delay.is_not(None), JobRow.due_at > now(), JobRow.kind == JobKind.SLEEP)
AFTER_OTHERS: dict[str, Any] = (
    due(time_of(JobRow.delay, JobRow.due_at))
    # A fan-in stays, for the hand-over. A kind that only a newer release knows is left to a worker of that one.
    | _ready((JobRow.kind.in_(sorted(FAN_INS)), JobStatus.WAITING), (_is_due_later, JobStatus.SCHEDULED))
    | {"remaining": 0}
)
"""The values that make a job ready, or due, when all are done that it waited for."""
