"""Rows as the rest of agentq sees them: frozen, typed, with nothing of SQLAlchemy in them."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime

from agentq.ledger.db.types import AnyRow
from agentq.ledger.knowledge import Need


@dataclass(frozen=True, slots=True)
class Bell:
    """What a message is made of: the doorbell for one job."""

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
    rung_at: datetime


@dataclass(frozen=True, slots=True)
class Claim:
    """A job in the hands of the worker that claimed it. ``attempt`` is the fencing token."""

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
    """What its policy asks for: attempts since then that do not count, waits, and seconds of pauses and waits."""
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
    successor: Bell | None
    """The bell of the one job that waits for this one, and for nothing else; rung at the claim's time."""


@dataclass(frozen=True, slots=True)
class Left:
    """How a job was left before for a worker whose code can run it."""

    times: int
    seconds: float
    """Since the first time, by the database's clock."""
    need: Need
    """What the start of its workflow says that it needs."""


def bell(row: AnyRow) -> Bell:
    """Return the bell for a row that has the columns of ``moves.BELL``."""
    return Bell(
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
