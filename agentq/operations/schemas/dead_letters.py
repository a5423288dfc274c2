"""Models of dead letters."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from agentq.operations.schemas.actions import Action
from agentq.operations.schemas.many import Decided
from agentq.operations.schemas.record import Record
from agentq.states import DeadLetterKind, DeadLetterStatus


class DeadLetterSummary(Record):
    """One line of a list of dead letters."""

    id: uuid.UUID
    kind: DeadLetterKind
    status: DeadLetterStatus
    job_id: uuid.UUID | None
    workflow_id: uuid.UUID | None
    tenant: str
    step: str
    attempts: int
    """The number of the attempt after which the job was dead."""
    needs_person: bool
    owner: str | None
    note: str | None
    messages: int
    error_category: str | None
    error_class: str | None
    error_message: str | None
    created_at: datetime
    recorded_at: datetime | None
    closed_at: datetime | None


class DeadLetterAction(Action):
    """One action of a person on a dead letter."""

    replaced: Any = None
    """The ``[args, kwargs]`` that an edit replaced, with secrets masked; None for any other action."""


class DeadLetter(DeadLetterSummary):
    """Everything about a dead letter: what handlers are given."""

    snapshot: Any
    """The job when it died, with every attempt; of a message, what could be read of it. Secrets are masked."""
    args: list[Any] | None
    kwargs: dict[str, Any] | None
    """The arguments that the job has now, also after an edit, with secrets masked; None of a message."""
    replays: int
    """The number of replays of the job, with its earlier dead letters."""
    actions: list[DeadLetterAction] = []


class DeadLetterCount(Record):
    """The number of dead letters that have one value in common; None where they have none."""

    value: str | None
    letters: int


class Replays(Decided[DeadLetterSummary]):
    """The result of a replay of many."""

    capped: list[DeadLetterSummary] = []
    """The dead letters that were left because they had been replayed too often."""
