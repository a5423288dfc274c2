"""The one place where a job becomes ready, and the one where it gets the time at which it is due.

A job that is ready is queued and dispatched; one whose time is to come is scheduled, and becomes ready when a
caretaker finds that it is due.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import case, or_

from agentq.ledger.db.types import now, seconds_from_now
from agentq.ledger.models import JobRow
from agentq.states import RUNNABLE, JobStatus

READY: dict[str, Any] = {"status": JobStatus.QUEUED, "dispatched_at": now(), "dispatches": 0}
"""The values that make a job ready."""


def due(at: Any) -> dict[str, Any]:
    """Return the values that make a job due at a time."""
    return {"status": JobStatus.SCHEDULED, "due_at": at}


def ready_or_due(is_due_later: Any, at: Any) -> dict[str, Any]:
    """Return the values that make a job ready, or due at a time where that is to come."""
    return READY | due(at) | {"status": case((is_due_later, JobStatus.SCHEDULED), else_=JobStatus.QUEUED)}


def due_or_waiting(is_ready: Any, at: Any) -> dict[str, Any]:
    """Return the values that make a job due at a time where nothing before it is undone, or else let it wait."""
    return {
        "status": case((is_ready, JobStatus.SCHEDULED), else_=JobStatus.WAITING),
        "due_at": case((is_ready, at), else_=JobRow.due_at),
    }


def time_of(delay: Any, eta: Any) -> Any:
    """Return when a job is due that may have a delay, in seconds, or a time of its own."""
    return case((delay.is_not(None), seconds_from_now(delay)), else_=eta)


def first_status(delay: float | None, eta: str | None) -> JobStatus:
    """Return how a job begins that waits for no other, as AFTER_OTHERS decides it for one that has waited.

    A start decides it before it writes, without the database's clock: so it schedules a job whose time has passed.
    """
    return JobStatus.QUEUED if delay is None and eta is None else JobStatus.SCHEDULED


_later = ready_or_due(or_(JobRow.delay.is_not(None), JobRow.due_at > now()), time_of(JobRow.delay, JobRow.due_at))
AFTER_OTHERS: dict[str, Any] = _later | {
    "remaining": 0,
    # What no worker runs stays, for the hand-over.
    "status": case((JobRow.kind.in_(sorted(RUNNABLE)), _later["status"]), else_=JobStatus.WAITING),
}
"""The values that make a job ready, or due, when all are done that it waited for."""
