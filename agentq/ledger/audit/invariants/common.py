"""The invariant of the audit, and the pieces of SQL that several invariants share."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Select, bindparam, select

from agentq.ledger.db.types import UtcDateTime, later
from agentq.ledger.models import DeadLetterRow, JobRow, WorkerRow, WorkflowRow
from agentq.states import RUNNABLE, DeadLetterStatus

Found = Select[uuid.UUID, str] | Select[str, str]
"""The ids of the rows that break a rule, of a limit its name, each with a word on what was found there."""

CLOCK = 1.0
"""Seconds by which two statements' times may disagree with the order of their commits."""
SOON = 600.0
"""Seconds within which living workers do what is theirs to do."""

BEGAN_AT = bindparam("began_at", type_=UtcDateTime())
"""The time at which the audit began, by the ledger's clock: the snapshot does not age while it is read."""

LONG_AGO = later(BEGAN_AT, -SOON)

START_ANEW = (
    "nothing moves it any more: start its workflow again under another key, and cancel this one if it runs"
)
ASK_WORKERS = "look at the log of the workers that live: agentq workers list"

a_worker_lives = (
    select(WorkerRow.id)
    .where(WorkerRow.started_at < LONG_AGO, WorkerRow.lease_until > BEGAN_AT, WorkerRow.stopped_at.is_(None))
    .exists()
)
"""True if a worker has been alive for long, and so had the time to do its duties."""
OF_POSTPONED = (
    select(WorkflowRow.id)
    .where(WorkflowRow.id == JobRow.workflow_id, WorkflowRow.postponed_on.is_not(None))
    .exists()
)
"""A job of a postponed workflow: what it waits for is the let-in."""
is_runnable = JobRow.kind.in_(sorted(RUNNABLE))


@dataclass(frozen=True, slots=True)
class Invariant:
    """Something that must never be: one query that should find nothing."""

    name: str
    text: str
    noun: str
    """The noun of the ids in its query: job, workflow, worker or limit."""
    query: Callable[[], Found]
    next_step: str = ""
    """The action that a person can take."""


def invariant(noun: str, next_step: str = "") -> Callable[[Callable[[], Found]], Invariant]:
    """Make an invariant of a function that returns its query; the docstring says what is wrong."""

    def make(query: Callable[[], Found]) -> Invariant:
        return Invariant(query.__name__, (query.__doc__ or "").strip(), noun, cache(query), next_step)

    return make


def letter_closed(status: DeadLetterStatus, number: ColumnElement[int] | Any) -> ColumnElement[bool]:
    """Say whether the dead letter that followed attempt *number* of the job at hand was closed so."""
    return (
        select(DeadLetterRow.id)
        .where(
            DeadLetterRow.job_id == JobRow.id,
            DeadLetterRow.attempts == number,
            # Not by the index on statuses, which SQLite without statistics would prefer.
            DeadLetterRow.status.concat("") == status,
        )
        .exists()
    )
