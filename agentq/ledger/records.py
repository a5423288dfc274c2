"""Rows as the rest of agentq sees them: frozen, typed, with nothing of SQLAlchemy in them."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from operator import attrgetter, itemgetter
from typing import Any

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
    pays: bool
    """True where its claim has to pay for the start."""
    dispatched_at: datetime


@dataclass(frozen=True, slots=True)
class Counts:
    """The counters by which a policy decides whether a job is tried again."""

    attempt: int
    """The number of the last attempt, which is the fencing token."""
    max_attempts: int
    attempts_before: int
    """The attempts before the last replay, which do not count any more."""
    uncounted: int
    """The attempts since then that do not count."""
    deferrals: int
    paused: float
    deferred: float
    """Seconds of deferrals; ``paused`` has those of pauses."""


@dataclass(frozen=True, slots=True)
class Claim(Counts):
    """A job as the worker that claimed it has it. ``attempt`` is the fencing token."""

    job_id: uuid.UUID = field(kw_only=True)
    workflow_id: uuid.UUID
    tenant: str
    kind: str
    step: str
    deadline_at: datetime | None
    worker_id: uuid.UUID = field(kw_only=True)
    started_at: datetime
    timeout: float | None
    arguments: str
    inputs: str | None = field(kw_only=True)
    """The result of the job before it as JSON text; None for a job that takes none."""
    join_id: uuid.UUID | None
    is_last: bool
    is_plain: bool
    limits: list[str] | None
    """The names of its limits, each of which it holds."""
    successor: Dispatch | None = field(kw_only=True)
    """The dispatch of the one job that waits for this one, and for nothing else; with the claim's time."""
    has_paid: bool = field(kw_only=True, default=False)
    """True where it has paid for its start."""
    tokens: list[int] | None = field(kw_only=True, default=None)
    """The tokens of each of its limits that it has reserved; None where none of them counts tokens."""
    begins_in: float = field(kw_only=True, default=0.0)
    """Seconds from the claim to the start that it has paid for."""


@dataclass(frozen=True, slots=True)
class Left:
    """The history of a job that was left for a worker with the right code."""

    times: int
    seconds: float
    """Since the first time, by the database's clock."""
    need: Need
    """The name and parameters that the job needs, as the start of its workflow recorded them."""


def columns_of(record: type[Any]) -> tuple[str, ...]:
    """Return the names of a job's columns that a record has, in the order of its fields.

    A field that is given by keyword only is not of these columns.
    """
    names = (field.name for field in fields(record) if not field.kw_only)
    return tuple("id" if name == "job_id" else name for name in names)


SUCCESSOR = tuple(
    name
    for name in columns_of(Dispatch)
    if name not in ("workflow_id", "after_id", "tenant", "pays", "dispatched_at")
)
"""The columns of a successor's dispatch that the claim of the job before it does not know already."""

_of_row, _of_values = attrgetter(*columns_of(Dispatch)), itemgetter(*columns_of(Dispatch))


def dispatch_of(row: AnyRow) -> Dispatch:
    """Return the dispatch for a row that has the columns of ``moves.DISPATCH``."""
    return Dispatch(*_of_row(row))


def dispatch_with(values: Mapping[str, Any]) -> Dispatch:
    """Return the dispatch for the values of these columns by name."""
    return Dispatch(*_of_values(values))
