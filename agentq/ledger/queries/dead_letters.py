"""Dead letters as people ask for them: by filter, counted by a column, and each with its job and its history."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, case, func, select
from sqlalchemy.orm import aliased
from sqlalchemy.sql.elements import ColumnElement

from agentq.exceptions import NotFound
from agentq.ledger import dead_letters
from agentq.ledger.db.types import AnyRow, seconds_from_now
from agentq.ledger.models import ActionRow, DeadLetterRow
from agentq.ledger.queries import jobs
from agentq.ledger.queries.jobs import FoundJobs
from agentq.ledger.queries.selection import Selection, Wanted
from agentq.states import DeadLetterKind, DeadLetterStatus

_HOUR, _DAY, _WEEK = 3_600.0, 86_400.0, 604_800.0
_COLUMNS = {
    "status": DeadLetterRow.status,
    "kind": DeadLetterRow.kind,
    "step": DeadLetterRow.step,
    "category": DeadLetterRow.error_category,
    "tenant": DeadLetterRow.tenant,
    "workflow": DeadLetterRow.workflow_id,
    "owner": DeadLetterRow.owner,
    "needs_person": DeadLetterRow.needs_person,
}
_AGE: ColumnElement[Any] = case(
    (DeadLetterRow.created_at > seconds_from_now(-_HOUR), "last hour"),
    (DeadLetterRow.created_at > seconds_from_now(-_DAY), "last day"),
    (DeadLetterRow.created_at > seconds_from_now(-_WEEK), "last week"),
    else_="older",
)
_COUNTED: dict[str, Any] = {
    **{name: _COLUMNS[name] for name in ("step", "category", "tenant", "workflow")},
    "age": _AGE,
}
_ALL = Selection(DeadLetterRow, select(DeadLetterRow.__table__))
_earlier = aliased(DeadLetterRow)
_replays = (
    select(func.count())
    .where(_earlier.job_id == DeadLetterRow.job_id, _earlier.status == DeadLetterStatus.REPLAYED)
    .scalar_subquery()
)


@dataclass(frozen=True, slots=True)
class FoundLetter:
    """The row of a dead letter; of a job also the job, the number of its replays and the actions on it."""

    row: AnyRow
    jobs: FoundJobs | None = None
    replays: int = 0
    actions: Sequence[AnyRow] = ()


def matching(wanted: Wanted) -> Selection:
    """Return the dead letters that a filter wants."""
    return _ALL.matching(_COLUMNS, wanted)


def of_kind(letters: Selection, kind: DeadLetterKind) -> Selection:
    """Return those of one kind."""
    return letters.where(DeadLetterRow.kind == kind)


def replayed_below(letters: Selection, times: int) -> Selection:
    """Return those whose job was replayed fewer than *times* times."""
    return letters.where(_replays < times)


def replayed_from(letters: Selection, times: int) -> Selection:
    """Return those whose job was replayed *times* times or more."""
    return letters.where(_replays >= times)


def count_by(connection: Connection, letters: Selection, name: str) -> Sequence[AnyRow]:
    """Count them by a column, as value and letters, most first; by ``age``, the youngest first."""
    # In a subquery, so that databases see one expression, whatever values are bound in it.
    columns = select(_COUNTED[name].label("value"), DeadLetterRow.created_at)
    grouped = columns.where(*letters.conditions).subquery()
    count = func.count().label("letters")
    order = func.max(grouped.c.created_at).desc() if name == "age" else count.desc()
    query = select(grouped.c.value, count).group_by(grouped.c.value).order_by(order, grouped.c.value)
    return connection.execute(query).all()


def get(connection: Connection, wanted: uuid.UUID) -> FoundLetter:
    """Return everything about a dead letter, by its own id or its job's; raises NotFound."""
    row = find(connection, wanted)
    if row.job_id is None:
        return FoundLetter(row)
    job = jobs.get(connection, row.job_id)
    replays = dead_letters.replays(connection, row.job_id)
    return FoundLetter(row, job, replays, _actions(connection, job.rows[0]))


def find(connection: Connection, wanted: uuid.UUID, *, locked: bool = False) -> AnyRow:
    """Return the row by its own id, or the newest one of a job by the job's; raises NotFound."""
    of_job = select(DeadLetterRow.id).where(DeadLetterRow.job_id == wanted)
    newest = of_job.order_by(DeadLetterRow.id.desc()).limit(1).scalar_subquery()
    letter = _ALL.query.where(DeadLetterRow.id == func.coalesce(newest, wanted))
    row = connection.execute(letter.with_for_update(key_share=True) if locked else letter).one_or_none()
    if row is None:
        raise _not_found(connection, wanted)
    return row


def open_of(connection: Connection, job_id: uuid.UUID) -> uuid.UUID | None:
    """Return the open dead letter of a job, or None."""
    is_open = (DeadLetterRow.job_id == job_id, DeadLetterRow.status == DeadLetterStatus.OPEN)
    return connection.scalar(select(DeadLetterRow.id).where(*is_open))


def _actions(connection: Connection, job: AnyRow) -> Sequence[AnyRow]:
    # By its workflow too, which the index knows.
    of_job = (ActionRow.workflow_id == job.workflow_id, ActionRow.job_id == job.id)
    return connection.execute(select(ActionRow.__table__).where(*of_job).order_by(ActionRow.id)).all()


def _not_found(connection: Connection, wanted: uuid.UUID) -> NotFound:
    status = jobs.status_of(connection, wanted)
    if status is not None:
        return NotFound(f"job {wanted} is {status} and has no dead letter; look with: agentq jobs show {wanted}")
    return NotFound(f"no dead letter has the id {wanted}; list them with: agentq dead-letters list")
