"""Dead letters as they stand: list, count, get, and the record of what was there."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from typing import Any

from agentq.ledger import dead_letter_tasks
from agentq.ledger.db.session import Ledger
from agentq.ledger.db.types import AnyRow
from agentq.ledger.queries import dead_letters, jobs
from agentq.ledger.queries.dead_letters import FoundLetter
from agentq.ledger.queries.selection import Selection
from agentq.ledger.transaction import Transaction
from agentq.operations import many
from agentq.operations.filters import checked
from agentq.operations.identity import parse_id
from agentq.operations.jobs import records
from agentq.operations.schemas import (
    DeadLetter,
    DeadLetterAction,
    DeadLetterCount,
    DeadLetterSummary,
)
from agentq.redaction import shown
from agentq.states import DeadLetterKind, DeadLetterStatus


@dataclass(frozen=True, slots=True)
class DeadLetterFilter:
    """A filter on dead letters; None means any. ``older_than`` is in seconds."""

    status: DeadLetterStatus | None = DeadLetterStatus.OPEN
    kind: DeadLetterKind | None = None
    step: str | None = None
    category: str | None = None
    tenant: str | None = None
    workflow: str | None = None
    owner: str | None = None
    needs_person: bool | None = None
    older_than: float | None = None


class CountBy(StrEnum):
    """The columns by which dead letters are counted."""

    STEP = "step"
    CATEGORY = "category"
    TENANT = "tenant"
    WORKFLOW = "workflow"
    AGE = "age"
    """Since they died: last hour, last day, last week, older."""


def list_(
    ledger: Ledger, wanted: DeadLetterFilter, *, limit: int = 50, oldest_first: bool = False
) -> list[DeadLetterSummary]:
    """Return up to *limit* dead letters, newest first or oldest first."""
    rows = partial(dead_letters.matching(checked(wanted)).rows, limit=limit, oldest_first=oldest_first)
    return [DeadLetterSummary.model_validate(row) for row in ledger.read(rows)]


def count(ledger: Ledger, wanted: DeadLetterFilter) -> int:
    """Return how many dead letters there are."""
    return ledger.read(dead_letters.matching(checked(wanted)).count)


def count_by(ledger: Ledger, wanted: DeadLetterFilter, by: CountBy) -> list[DeadLetterCount]:
    """Count dead letters by one of their columns, most first; by age, the youngest first."""
    counts = partial(dead_letters.count_by, letters=dead_letters.matching(checked(wanted)), name=by)
    return [
        DeadLetterCount(value=None if row.value is None else str(row.value), letters=row.letters)
        for row in ledger.read(counts)
    ]


def get(ledger: Ledger, letter_id: str) -> DeadLetter:
    """Return everything about a dead letter, by its own id or its job's; raises NotFound."""
    wanted = parse_id(letter_id, "dead-letter")
    return record_of(ledger.read(partial(dead_letters.get, wanted=wanted)))


def read(connection: Any, letter_id: uuid.UUID) -> DeadLetter:
    """Return a dead letter on a connection that is open already; raises NotFound."""
    return record_of(dead_letters.get(connection, letter_id))


def record_of(found: FoundLetter) -> DeadLetter:
    """Return a dead letter of the ledger with everything about it."""
    job = None if found.jobs is None else records(found.jobs)[0]
    snapshot = shown(found.row.snapshot) if found.row.snapshot or job is None else job.model_dump(mode="json")
    return DeadLetter(
        **{**found.row._mapping, "snapshot": snapshot},
        args=None if job is None else job.args,
        kwargs=None if job is None else job.kwargs,
        replays=found.replays,
        actions=[DeadLetterAction(**action._mapping, replaced=shown(action.details)) for action in found.actions],
    )


def record(ledger: Ledger, letter_id: uuid.UUID) -> DeadLetter:
    """Keep the snapshot of a dead letter, unless it is there already, and return the letter; raises NotFound."""

    def write(tx: Transaction) -> DeadLetter:
        row = dead_letters.find(tx.connection, letter_id)
        keep_snapshot(tx, row)
        return read(tx.connection, row.id)

    return ledger.write(write)


def keep_snapshot(tx: Transaction, letter: AnyRow) -> None:
    """Keep what a job is now as what it was when it died, unless that was kept before."""
    if letter.recorded_at is None and letter.job_id is not None:
        (job,) = records(jobs.get(tx.connection, letter.job_id))
        dead_letter_tasks.record(tx, letter.id, job.model_dump_json())


def open_letters(wanted: DeadLetterFilter, *, kind: DeadLetterKind | None = None) -> Selection:
    """Return the selection of the open ones that are wanted, of messages too unless *kind* says otherwise."""
    letters = dead_letters.matching(checked(replace(wanted, status=DeadLetterStatus.OPEN)))
    return letters if kind is None else dead_letters.of_kind(letters, kind)


def find_all(ledger: Ledger, letters: Selection, most: int) -> dict[str, Any]:
    """Return up to *most* of a selection, oldest first, and how many fit."""
    rows, fit = ledger.read(partial(letters.first, most=many.bounded(most)))
    return {"done": [DeadLetterSummary.model_validate(row) for row in rows], "fit": fit}
