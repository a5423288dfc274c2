"""Rows as the rest of agentq sees them: frozen, typed, with nothing of SQLAlchemy in them."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime

from agentq.ledger.db.types import AnyRow
from agentq.ledger.knowledge import Need


@dataclass(frozen=True, slots=True)
class Dispatch:
    """The content of one message to a worker: a job to claim, with its queue and options."""

    job_id: uuid.UUID
    workflow_id: uuid.UUID
    after_id: uuid.UUID | None
    tenant: str
    kind: str
    step: str
    queue: str
    priority: int | None
    timeout: float | None
    hard_timeout: float | None
    dispatched_at: datetime


@dataclass(frozen=True, slots=True)
class Claim:
    """A job as the worker that claimed it has it. ``attempt`` is the fencing token."""

    job_id: uuid.UUID
    workflow_id: uuid.UUID
    tenant: str
    kind: str
    step: str
    attempt: int
    max_attempts: int
    attempts_before: int
    """The attempts before the last replay, which do not count any more."""
    uncounted: int
    waits: int
    paused: float
    waited: float
    """The counters for its policy: attempts that do not count, waits, and seconds of pauses and waits."""
    deadline_at: datetime | None
    worker_id: uuid.UUID
    started_at: datetime
    timeout: float | None
    arguments: str
    inputs: str | None
    """The result of the job before it as JSON text; None for a job that takes none."""
    join_id: uuid.UUID | None
    is_last: bool
    is_plain: bool
    successor: Dispatch | None
    """The dispatch of the one job that waits for this one, and for nothing else; with the claim's time."""


@dataclass(frozen=True, slots=True)
class Left:
    """The history of a job that was left for a worker with the right code."""

    times: int
    seconds: float
    """Since the first time, by the database's clock."""
    need: Need
    """The name and parameters that the job needs, as the start of its workflow recorded them."""


def dispatch_of(row: AnyRow) -> Dispatch:
    """Return the dispatch for a row that has the columns of ``moves.DISPATCH``."""
    return Dispatch(
        row.id,
        row.workflow_id,
        row.after_id,
        row.tenant,
        row.kind,
        row.step,
        row.queue,
        row.priority,
        row.timeout,
        row.hard_timeout,
        row.dispatched_at,
    )
