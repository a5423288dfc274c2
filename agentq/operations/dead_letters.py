"""Dead letters: list, count, get, record, replay, cancel."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from sqlalchemy import Connection, Select, func, or_, select

from agentq.exceptions import InvalidArguments, NotFound, StateConflict
from agentq.ids import new_id
from agentq.ledger import dead_letters as ledger_dead_letters
from agentq.ledger.models import ActionRow, DeadLetterRow
from agentq.ledger.session import Ledger
from agentq.ledger.types import AnyRow, seconds_from_now
from agentq.operations import jobs
from agentq.operations.actors import current_user
from agentq.operations.identity import parse_id
from agentq.operations.schemas import Action, DeadLetter, DeadLetterSummary, shown
from agentq.states import DeadLetterKind, DeadLetterStatus

Query = TypeVar("Query", bound=Select[*tuple[Any, ...]])

NO_REASON = "no reason given"


@dataclass(frozen=True, slots=True)
class DeadLetterFilter:
    """Which dead letters; None means any. ``older_than`` is in seconds."""

    status: DeadLetterStatus | None = DeadLetterStatus.OPEN
    kind: DeadLetterKind | None = None
    step: str | None = None
    category: str | None = None
    tenant: str | None = None
    workflow: str | None = None
    owner: str | None = None
    older_than: float | None = None


@dataclass(frozen=True, slots=True)
class DeadLetterCount:
    """How many dead letters of one step have one category of error."""

    step: str
    category: str | None
    letters: int


def list_(ledger: Ledger, wanted: DeadLetterFilter, *, limit: int = 50) -> list[DeadLetterSummary]:
    """Return up to *limit* dead letters, newest first."""
    query = _filtered(select(DeadLetterRow.__table__), wanted).order_by(DeadLetterRow.id.desc()).limit(limit)
    return ledger.read(
        lambda connection: [DeadLetterSummary.model_validate(row) for row in connection.execute(query)]
    )


def count(ledger: Ledger, wanted: DeadLetterFilter) -> int:
    """Return how many dead letters there are."""
    query = _filtered(select(func.count()).select_from(DeadLetterRow), wanted)
    return ledger.read(lambda connection: connection.scalar(query) or 0)


def count_by_step(ledger: Ledger, wanted: DeadLetterFilter) -> list[DeadLetterCount]:
    """Count dead letters by step and category, most first."""
    groups = (DeadLetterRow.step, DeadLetterRow.error_category)
    query = (
        _filtered(select(*groups, func.count()), wanted).group_by(*groups).order_by(func.count().desc(), *groups)
    )
    return ledger.read(lambda connection: [DeadLetterCount(*row) for row in connection.execute(query)])


def get(ledger: Ledger, letter_id: str) -> DeadLetter:
    """Return everything about a dead letter, by its own id or its job's; raises NotFound."""
    wanted = parse_id(letter_id, "dead-letter")
    return ledger.read(lambda connection: read(connection, wanted))


def read(connection: Connection, letter_id: uuid.UUID) -> DeadLetter:
    """Return a dead letter on a connection that is open already; raises NotFound."""
    row = _find(connection, letter_id)
    actions = connection.execute(
        select(ActionRow.__table__).where(ActionRow.job_id == row.job_id).order_by(ActionRow.id)
    )
    found = {**row._mapping, "snapshot": shown(row.snapshot)}
    return DeadLetter(**found, actions=[Action.model_validate(action) for action in actions])


def record(ledger: Ledger, letter_id: uuid.UUID) -> DeadLetter:
    """Keep the snapshot of a dead letter, unless it is there already, and return the letter; raises NotFound."""

    def write(connection: Connection) -> DeadLetter:
        row = _find(connection, letter_id)
        if row.recorded_at is None and row.job_id is not None:
            (job,) = jobs.read_jobs(connection, row.job_id)
            ledger_dead_letters.record(connection, row.id, job.model_dump_json())
        return read(connection, row.id)

    return ledger.write(write)


def replay(
    ledger: Ledger,
    letter_id: str,
    *,
    attempts: int | None = None,
    delay: float = 0,
    actor: str = "",
    reason: str = "",
) -> DeadLetter:
    """Give a dead job new attempts; its workflow goes on where it stopped, joins included.

    Args:
        ledger: where.
        letter_id: the dead letter's id or its job's.
        attempts: how many new attempts it has. Default: as many as its step allows.
        delay: seconds before the first of them.
        actor: who, for the history. Default: the name of the process's user.
        reason: why, for the history.

    Returns the dead letter, closed. Raises NotFound, and StateConflict where it is not open: of two replays at
    once, one gets this.
    """
    if attempts is not None and not 1 <= attempts <= 1000:
        raise InvalidArguments(f"attempts is {attempts!r}; it must be 1 to 1000")
    if not 0 <= delay < 1e9:
        raise InvalidArguments(f"delay is {delay!r}; it must be seconds from 0 up")
    deed = _deed(actor, reason)

    def write(connection: Connection, job_id: uuid.UUID) -> None:
        ledger_dead_letters.replay(connection, job_id, attempts=attempts, delay=delay, **deed)

    return _change(ledger, letter_id, write)


def replay_all(
    ledger: Ledger,
    wanted: DeadLetterFilter,
    *,
    attempts: int | None = None,
    most: int = 100,
    rate: float = 10.0,
    dry_run: bool = False,
    actor: str = "",
    reason: str = "",
) -> list[DeadLetterSummary]:
    """Replay open dead letters of jobs, oldest first.

    Args:
        ledger: where.
        wanted: which; its status is taken to be open.
        attempts: how many new attempts each has. Default: as many as its step allows.
        most: how many at most.
        rate: jobs per second that become due, so that what they failed of is not stormed.
        dry_run: only say which it would be.
        actor: who, for the history. Default: the name of the process's user.
        reason: why, for the history.

    Returns those that were replayed, or would be. One that somebody else decided about meanwhile is left out.
    """
    if not 0 < rate <= 10_000:
        raise InvalidArguments(f"rate is {rate!r}; it must be over 0 jobs per second")
    narrowed = replace(wanted, status=DeadLetterStatus.OPEN, kind=DeadLetterKind.JOB)
    query = _filtered(select(DeadLetterRow.__table__), narrowed).order_by(DeadLetterRow.id).limit(most)
    found = ledger.read(
        lambda connection: [DeadLetterSummary.model_validate(row) for row in connection.execute(query)]
    )
    if dry_run:
        return found
    replayed: list[DeadLetterSummary] = []
    for letter in found:
        delay = len(replayed) / rate
        with suppress(StateConflict):
            replayed.append(
                replay(ledger, str(letter.id), attempts=attempts, delay=delay, actor=actor, reason=reason)
            )
    return replayed


def cancel(ledger: Ledger, letter_id: str, *, actor: str = "", reason: str = "") -> DeadLetter:
    """Give a dead job up: the dead letter is closed, its workflow stays failed.

    Raises NotFound, and StateConflict where it is not open.
    """

    deed = _deed(actor, reason)

    def write(connection: Connection, job_id: uuid.UUID) -> None:
        ledger_dead_letters.cancel(connection, job_id, **deed)

    return _change(ledger, letter_id, write)


def _deed(actor: str, reason: str) -> dict[str, Any]:
    # Named here, so that a deed whose commit got no answer and is tried again is the same one.
    return {"actor": actor or current_user(), "reason": reason or NO_REASON, "action_id": new_id()}


def _change(ledger: Ledger, letter_id: str, write: Callable[[Connection, uuid.UUID], None]) -> DeadLetter:
    wanted = parse_id(letter_id, "dead-letter")

    def change(connection: Connection) -> DeadLetter:
        row = _find(connection, wanted)
        if row.job_id is None:
            raise InvalidArguments(f"dead letter {row.id} is about a message, not a job: it can only be cancelled")
        write(connection, row.job_id)
        return read(connection, row.id)

    return ledger.write(change)


def _find(connection: Connection, wanted: uuid.UUID) -> AnyRow:
    """Return the row by its own id, or the newest one of a job by the job's."""
    letters = select(DeadLetterRow.__table__).where(
        or_(DeadLetterRow.id == wanted, DeadLetterRow.job_id == wanted)
    )
    row = connection.execute(letters.order_by(DeadLetterRow.id.desc()).limit(1)).one_or_none()
    if row is None:
        raise NotFound(f"no dead letter has the id {wanted}; list them with: agentq dead-letters list")
    return row


def _filtered(query: Query, wanted: DeadLetterFilter) -> Query:
    for column, value in (
        (DeadLetterRow.status, wanted.status),
        (DeadLetterRow.kind, wanted.kind),
        (DeadLetterRow.step, wanted.step),
        (DeadLetterRow.error_category, wanted.category),
        (DeadLetterRow.tenant, wanted.tenant),
        (DeadLetterRow.workflow_id, wanted.workflow and parse_id(wanted.workflow, "workflow")),
        (DeadLetterRow.owner, wanted.owner),
    ):
        if value is not None:
            query = query.where(column == value)
    if wanted.older_than is not None:
        query = query.where(DeadLetterRow.created_at < seconds_from_now(-wanted.older_than))
    return query
