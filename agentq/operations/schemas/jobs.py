"""Models of jobs and their attempts."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from pydantic import Field, computed_field

from agentq.operations.attempt_counts import attempts_summary
from agentq.operations.schemas.actions import ByHand
from agentq.operations.schemas.record import Record
from agentq.states import AttemptOutcome, JobKind, JobStatus


class JobSummary(Record):
    """One line of a list of jobs."""

    id: uuid.UUID
    workflow_id: uuid.UUID
    tenant: str
    kind: JobKind
    step: str
    status: JobStatus
    attempt: int
    max_attempts: int
    """The numbers of the last attempt that began, and of the last one that it may have."""
    attempts_before: int
    uncounted: int
    """Attempts that count no more, since it was replayed, or never did: a deferral, a worker that was stopped."""
    queue: str
    priority: int | None
    waiting_for: str | None
    due_at: datetime | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    worker_id: uuid.UUID | None
    error_category: str | None
    error_class: str | None
    error_message: str | None
    by_hand: ByHand | None
    """The person who gave its result: worker and times are still those of the last attempt, which failed."""

    @computed_field  # type: ignore[prop-decorator]  # mypy knows no decorator on top of a property
    @property
    def attempts_summary(self) -> str:
        """The attempts that count, of those that it may have, for people: ``3 of 5, 2 more at no cost``."""
        return attempts_summary(self)


class Attempt(Record):
    """One finished attempt."""

    number: int
    outcome: AttemptOutcome
    worker_id: uuid.UUID | None
    started_at: datetime | None
    finished_at: datetime
    error_category: str | None
    error_class: str | None
    error_message: str | None
    error_traceback: str | None
    error_provider: str | None
    error_status: int | None
    error_code: str | None
    error_request_id: str | None


class Job(JobSummary):
    """Everything about a job. Arguments and result have secrets masked."""

    after_id: uuid.UUID | None
    join_id: uuid.UUID | None
    position: int | None
    timeout: float | None
    expires_at: datetime | None
    due_reason: str | None
    """The reason of its last delay, beside ``due_at``."""
    # Read from rows, whose columns have the older word.
    deferrals: int = Field(validation_alias="waits")
    """The number of deferrals since it began or was replayed, ``deferred`` seconds in all."""
    deferred: float = Field(validation_alias="waited")
    args: list[Any]
    kwargs: dict[str, Any]
    result: Any
    attempts: tuple[Attempt, ...] = ()
