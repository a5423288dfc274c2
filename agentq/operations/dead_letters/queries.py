"""Dead letters as they stand: list, count, get, and the record of what was there."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Select, case, func, select
from sqlalchemy.sql.elements import ColumnElement

from agentq.exceptions import NotFound
from agentq.ledger import dead_letter_tasks
from agentq.ledger import dead_letters as ledger_dead_letters
from agentq.ledger.db.session import Ledger
from agentq.ledger.db.types import AnyRow, seconds_from_now
from agentq.ledger.models import ActionRow, DeadLetterRow, JobRow
from agentq.ledger.transaction import Transaction
from agentq.operations import jobs, many
from agentq.operations.filters import Query, narrowed
from agentq.operations.identity import parse_id
from agentq.operations.schemas import (
    DeadLetter,
    DeadLetterAction,
    DeadLetterCount,
    DeadLetterSummary,
    Job,
    shown,
)
from agentq.states import DeadLetterKind, DeadLetterStatus

_HOUR, _DAY, _WEEK = 3_600.0, 86_400.0, 604_800.0


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


_AGE: ColumnElement[Any] = case(
    (DeadLetterRow.created_at > seconds_from_now(-_HOUR), "last hour"),
    (DeadLetterRow.created_at > seconds_from_now(-_DAY), "last day"),
    (DeadLetterRow.created_at > seconds_from_now(-_WEEK), "last week"),
    else_="older",
)
_COLUMNS: dict[CountBy, ColumnElement[Any]] = {
    CountBy.STEP: DeadLetterRow.step.expression,
    CountBy.CATEGORY: DeadLetterRow.error_category.expression,
    CountBy.TENANT: DeadLetterRow.tenant.expression,
    CountBy.WORKFLOW: DeadLetterRow.workflow_id.expression,
    CountBy.AGE: _AGE,
}


def list_(
    ledger: Ledger, wanted: DeadLetterFilter, *, limit: int = 50, oldest_first: bool = False
) -> list[DeadLetterSummary]:
    """Return up to *limit* dead letters, newest first or oldest first."""
    order = DeadLetterRow.id if oldest_first else DeadLetterRow.id.desc()
    query = filtered(select(DeadLetterRow.__table__), wanted).order_by(order).limit(limit)
    return ledger.read(lambda connection: summaries(connection, query))


def count(ledger: Ledger, wanted: DeadLetterFilter) -> int:
    """Return how many dead letters there are."""
    query = filtered(select(func.count()).select_from(DeadLetterRow), wanted)
    return ledger.read(lambda connection: connection.scalar(query) or 0)


def count_by(ledger: Ledger, wanted: DeadLetterFilter, by: CountBy) -> list[DeadLetterCount]:
    """Count dead letters by one of their columns, most first; by age, the youngest first."""
    # In a subquery, so that databases see one expression, whatever values are bound in it.
    grouped = filtered(select(_COLUMNS[by].label("value"), DeadLetterRow.created_at), wanted).subquery()
    letters = func.count().label("letters")
    order = func.max(grouped.c.created_at).desc() if by == CountBy.AGE else letters.desc()
    query = select(grouped.c.value, letters).group_by(grouped.c.value).order_by(order, grouped.c.value)

    def read(connection: Connection) -> list[DeadLetterCount]:
        return [
            DeadLetterCount(value=None if row.value is None else str(row.value), letters=row.letters)
            for row in connection.execute(query)
        ]

    return ledger.read(read)


def get(ledger: Ledger, letter_id: str) -> DeadLetter:
    """Return everything about a dead letter, by its own id or its job's; raises NotFound."""
    wanted = parse_id(letter_id, "dead-letter")
    return ledger.read(lambda connection: read(connection, wanted))


def read(connection: Connection, letter_id: uuid.UUID) -> DeadLetter:
    """Return a dead letter on a connection that is open already; raises NotFound."""
    row = find(connection, letter_id)
    job = None if row.job_id is None else _job(connection, row.job_id)
    snapshot = shown(row.snapshot) if row.snapshot or job is None else job.model_dump(mode="json")
    return DeadLetter(
        **{**row._mapping, "snapshot": snapshot},
        args=None if job is None else job.args,
        kwargs=None if job is None else job.kwargs,
        replays=0 if job is None else ledger_dead_letters.replays(connection, job.id),
        actions=[] if job is None else _actions(connection, job),
    )


def record(ledger: Ledger, letter_id: uuid.UUID) -> DeadLetter:
    """Keep the snapshot of a dead letter, unless it is there already, and return the letter; raises NotFound."""

    def write(tx: Transaction) -> DeadLetter:
        row = find(tx.connection, letter_id)
        keep_snapshot(tx, row)
        return read(tx.connection, row.id)

    return ledger.write(write)


def keep_snapshot(tx: Transaction, letter: AnyRow) -> None:
    """Keep what a job is now as what it was when it died, unless that was kept before."""
    if letter.recorded_at is None and letter.job_id is not None:
        dead_letter_tasks.record(tx, letter.id, _job(tx.connection, letter.job_id).model_dump_json())


def find(connection: Connection, wanted: uuid.UUID, *, locked: bool = False) -> AnyRow:
    """Return the row by its own id, or the newest one of a job by the job's; raises NotFound."""
    of_job = select(DeadLetterRow.id).where(DeadLetterRow.job_id == wanted)
    newest = of_job.order_by(DeadLetterRow.id.desc()).limit(1).scalar_subquery()
    letter = select(DeadLetterRow.__table__).where(DeadLetterRow.id == func.coalesce(newest, wanted))
    row = connection.execute(letter.with_for_update(key_share=True) if locked else letter).one_or_none()
    if row is None:
        raise _not_found(connection, wanted)
    return row


def summaries(connection: Connection, query: Select[*tuple[Any, ...]]) -> list[DeadLetterSummary]:
    """Return what a query of whole rows finds."""
    return [DeadLetterSummary.model_validate(row) for row in connection.execute(query)]


def open_letters(wanted: DeadLetterFilter, *, kind: DeadLetterKind | None = None) -> Select[Any]:
    """Return the query of the open ones that are wanted, of messages too unless *kind* says otherwise."""
    letters = filtered(select(DeadLetterRow.__table__), replace(wanted, status=DeadLetterStatus.OPEN))
    return letters if kind is None else letters.where(DeadLetterRow.kind == kind)


def find_all(ledger: Ledger, letters: Select[Any], most: int) -> dict[str, Any]:
    """Return up to *most* of what a query of whole rows finds, oldest first, and how many fit."""
    return many.find(ledger, letters, DeadLetterRow.id, summaries, most)


def filtered(query: Query, wanted: DeadLetterFilter) -> Query:
    """Narrow a query down to the dead letters that are wanted."""
    pairs = (
        (DeadLetterRow.status, wanted.status),
        (DeadLetterRow.kind, wanted.kind),
        (DeadLetterRow.step, wanted.step),
        (DeadLetterRow.error_category, wanted.category),
        (DeadLetterRow.tenant, wanted.tenant),
        (DeadLetterRow.workflow_id, wanted.workflow and parse_id(wanted.workflow, "workflow")),
        (DeadLetterRow.owner, wanted.owner),
        (DeadLetterRow.needs_person, wanted.needs_person),
    )
    return narrowed(query, pairs, DeadLetterRow.created_at, wanted.older_than)


def _job(connection: Connection, job_id: uuid.UUID) -> Job:
    (job,) = jobs.read_jobs(connection, job_id)
    return job


def _actions(connection: Connection, job: Job) -> list[DeadLetterAction]:
    # By its workflow too, which the index knows.
    of_job = (ActionRow.workflow_id == job.workflow_id, ActionRow.job_id == job.id)
    done = select(ActionRow.__table__).where(*of_job).order_by(ActionRow.id)
    return [DeadLetterAction(**row._mapping, replaced=shown(row.details)) for row in connection.execute(done)]


def _not_found(connection: Connection, wanted: uuid.UUID) -> NotFound:
    status = connection.scalar(select(JobRow.status).where(JobRow.id == wanted))
    if status is not None:
        return NotFound(f"job {wanted} is {status} and has no dead letter; look with: agentq jobs show {wanted}")
    return NotFound(f"no dead letter has the id {wanted}; list them with: agentq dead-letters list")
