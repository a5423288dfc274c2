"""Models of the reasons why a workflow or a job is not done."""

from __future__ import annotations

import uuid

from agentq.operations.schemas.record import Record
from agentq.states import JobStatus, WaitReason, WorkflowStatus


class Reason(Record):
    """The reason why one job is not done, and the event that ends it."""

    job_id: uuid.UUID
    step: str
    status: JobStatus
    name: WaitReason
    waiting_for: str
    ends: str
    """The event, with a command that shows more or brings it about."""


class Why(Record):
    """The reasons why a workflow or a job is not done; none where it is."""

    workflow_id: uuid.UUID
    job_id: uuid.UUID | None
    """The job that was asked for; None where it was the workflow."""
    status: WorkflowStatus | JobStatus
    reasons: list[Reason]
    """Those first that all others wait for."""
    is_complete: bool
    """False where there are more jobs than these that are not done."""
    workers: str
    """The next step where no live worker uses the ledger; empty where one does."""
