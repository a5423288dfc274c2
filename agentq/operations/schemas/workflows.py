"""Models of workflows."""

from __future__ import annotations

import uuid
from datetime import datetime

from agentq.operations.schemas.actions import Action
from agentq.operations.schemas.jobs import Job
from agentq.operations.schemas.record import Record
from agentq.states import WorkflowStatus


class WorkflowSummary(Record):
    """One line of a list of workflows."""

    id: uuid.UUID
    name: str
    tenant: str
    key: str | None
    status: WorkflowStatus
    reason: str | None
    created_at: datetime
    finished_at: datetime | None
    error_category: str | None
    error_class: str | None
    error_message: str | None
    """The error that it failed of; None unless it is failed."""


class WorkflowDetails(WorkflowSummary):
    """Everything about a workflow."""

    jobs: list[Job]
    actions: list[Action]
