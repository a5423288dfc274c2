"""The moves of a fan-in's parts: missing, back again, cancelled. A part is the branch that ends in one member."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence

from sqlalchemy import Connection, bindparam, func, null, select, update

from agentq.ledger.models import JobRow
from agentq.ledger.transition.graph import FAN_IN, JOIN_CLOCK
from agentq.ledger.transition.shared import FAILURE, JOB_ID, failure_values
from agentq.ledger.types import AnyRow, now
from agentq.outcomes import Failure
from agentq.states import JOB_OPEN, VIRTUAL, JobStatus

_BATCH = 500
_MARK = (
    update(JobRow)
    .where(JobRow.id == JOB_ID, JobRow.is_missing.is_(False), JobRow.status != JobStatus.SUCCEEDED)
    .values(is_missing=True)
    .returning(JobRow.join_id)
)
_UNMARK = (
    update(JobRow)
    .where(JobRow.id == JOB_ID, JobRow.is_missing.is_(True))
    .values(is_missing=False)
    .returning(JobRow.join_id)
)
_COUNT_MISSING = (
    update(JobRow)
    .where(JobRow.id == JOB_ID, JobRow.status == JobStatus.WAITING)
    .values(remaining=JobRow.remaining - 1, missing=JobRow.missing + 1, deadline_at=JOIN_CLOCK)
    .returning(*FAN_IN)
)
_COUNT_BACK = (
    update(JobRow)
    .where(JobRow.id == JOB_ID, JobRow.status == JobStatus.WAITING)
    .values(
        remaining=JobRow.remaining + 1,
        missing=JobRow.missing - 1,
        deadline_at=null(),  # it waits anew
        error_category=null(),
        error_class=null(),
        error_message=null(),
    )
)
_CLOSE = (
    update(JobRow)
    .where(JobRow.id == JOB_ID, JobRow.status == JobStatus.WAITING)
    .values(remaining=0, missing=JobRow.missing + bindparam("late"), deadline_at=null())
    .returning(*FAN_IN)
)
_MARK_LATE = update(JobRow).where(JobRow.id.in_(bindparam("members", expanding=True))).values(is_missing=True)
_NOTE_UNMET = update(JobRow).where(JobRow.id == JOB_ID, JobRow.status == JobStatus.WAITING).values(**FAILURE)
_CANCEL = (
    update(JobRow)
    .where(JobRow.part_id.in_(bindparam("parts", expanding=True)), JobRow.status.in_(sorted(JOB_OPEN)))
    .values(
        status=JobStatus.CANCELLED,
        finished_at=now(),
        # What failed itself, as a fan-in that lacks parts did, keeps its own reason.
        error_category=func.coalesce(JobRow.error_category, bindparam("category")),
        error_class=func.coalesce(JobRow.error_class, bindparam("class_name")),
        error_message=func.coalesce(JobRow.error_message, bindparam("message")),
    )
    .returning(JobRow.id, JobRow.kind)
)


def mark_missing(connection: Connection, part_id: uuid.UUID) -> AnyRow | None:
    """Note that a part of a fan-in will not come, and count it; the columns of FAN_IN.

    None where it was noted before, or the fan-in has gone on: only the first loss of a part counts.
    """
    join_id = connection.scalar(_MARK, {"job_id": part_id})
    return None if join_id is None else connection.execute(_COUNT_MISSING, {"job_id": join_id}).one_or_none()


def unmark_missing(connection: Connection, part_id: uuid.UUID) -> uuid.UUID | None:
    """Take back that a part is missing; the id of its fan-in, or None where it was not, or that has gone on."""
    join_id: uuid.UUID | None = connection.scalar(_UNMARK, {"job_id": part_id})
    if join_id is None or connection.execute(_COUNT_BACK, {"job_id": join_id}).rowcount == 0:
        return None
    return join_id


def close_fan_in(connection: Connection, join_id: uuid.UUID, late: Sequence[uuid.UUID]) -> AnyRow | None:
    """Count the members in *late* as missing, so that nothing is waited for; the columns of FAN_IN, or None."""
    for batch in _batches(late):
        connection.execute(_MARK_LATE, {"members": batch})
    return connection.execute(_CLOSE, {"job_id": join_id, "late": len(late)}).one_or_none()


def note_unmet(connection: Connection, join_id: uuid.UUID, why: Failure) -> None:
    """Keep with a fan-in why it cannot go on; it stays waiting, for parts that may come back."""
    connection.execute(_NOTE_UNMET, {"job_id": join_id, **failure_values(why)})


def cancel_parts(connection: Connection, parts: Sequence[uuid.UUID], why: Failure) -> int:
    """Everything open in these parts to cancelled, also in fan-ins inside them; returns how many jobs."""
    count = 0
    for batch in _batches(parts):
        cancelled = connection.execute(_CANCEL, {"parts": batch, **failure_values(why)}).all()
        inner = [row.id for row in cancelled if row.kind in VIRTUAL]
        count += len(cancelled) + (_cancel_members(connection, inner, why) if inner else 0)
    return count


def _cancel_members(connection: Connection, fan_ins: Sequence[uuid.UUID], why: Failure) -> int:
    """The parts of cancelled fan-ins are missing too."""
    undone = (JobRow.part_id == JobRow.id, JobRow.status != JobStatus.SUCCEEDED)
    members = connection.scalars(select(JobRow.id).where(JobRow.join_id.in_(fan_ins), *undone)).all()
    for batch in _batches(members):
        connection.execute(_MARK_LATE, {"members": batch})
    return cancel_parts(connection, members, why)


def _batches(ids: Sequence[uuid.UUID]) -> Iterator[Sequence[uuid.UUID]]:
    return (ids[start : start + _BATCH] for start in range(0, len(ids), _BATCH))
