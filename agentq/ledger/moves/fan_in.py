"""The moves of a fan-in's members: missing, back again, cancelled, with all jobs that lead to them."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    Float,
    and_,
    bindparam,
    case,
    exists,
    func,
    null,
    or_,
    select,
    update,
)
from sqlalchemy.orm import aliased

from agentq.ledger.db.types import AnyRow, now, seconds_from_now
from agentq.ledger.models import JobRow
from agentq.ledger.moves.handover import FAN_IN, JOIN_CLOCK
from agentq.ledger.moves.ready import due_or_waiting
from agentq.ledger.moves.shared import JOB_ID, MAY_END_NOW, REVIVED, batches, failure_values
from agentq.ledger.transaction import Transaction
from agentq.outcomes import Failure
from agentq.states import FAN_INS, JOB_OPEN, JOB_WITHOUT_RESULT, MISSING_MEMBERS, JobKind, JobStatus, OnFailure

LACKS_MEMBERS = and_(
    JobRow.status == JobStatus.FAILED, JobRow.kind.in_(sorted(FAN_INS)), JobRow.error_category == MISSING_MEMBERS
)
"""A fan-in that failed for missing members, not an ``each`` that got no list."""
_WAITS_ANEW: dict[str, Any] = {
    "status": JobStatus.WAITING,
    "finished_at": null(),
    "deadline_at": null(),
    "error_category": null(),
    "error_class": null(),
    "error_message": null(),
}
_LOCK = select(JobRow.id).where(JobRow.id == JOB_ID).with_for_update(key_share=True)
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
    .where(JobRow.id == JOB_ID, or_(JobRow.status == JobStatus.WAITING, LACKS_MEMBERS))
    .values(remaining=JobRow.remaining + 1, missing=JobRow.missing - 1, **_WAITS_ANEW)
)
_CLOSE = (
    update(JobRow)
    .where(JobRow.id == JOB_ID, JobRow.status == JobStatus.WAITING)
    .values(remaining=0, missing=JobRow.missing + bindparam("late"), deadline_at=null())
    .returning(*FAN_IN)
)
_to_end = (
    select(JobRow.id)
    .where(JobRow.part_id.in_(bindparam("members", expanding=True)), MAY_END_NOW)
    .order_by(JobRow.id)
    .with_for_update(key_share=True)
)
_LOCK_TO_END = select(func.count()).select_from(_to_end.subquery())
_LOCK_LATE = (
    select(JobRow.id)
    .where(JobRow.id == JOB_ID, JobRow.status == JobStatus.WAITING, JobRow.deadline_at <= now())
    .with_for_update(key_share=True)
)
_MARK_LATE = update(JobRow).where(JobRow.id.in_(bindparam("members", expanding=True))).values(is_missing=True)
_CANCEL = (
    update(JobRow)
    .where(JobRow.part_id.in_(bindparam("members", expanding=True)), JobRow.status.in_(sorted(JOB_OPEN)))
    .values(
        status=JobStatus.CANCELLED,
        finished_at=now(),
        # A job that failed itself, or a fan-in with missing members, keeps its own reason.
        error_category=func.coalesce(JobRow.error_category, bindparam("category")),
        error_class=func.coalesce(JobRow.error_class, bindparam("class_name")),
        error_message=func.coalesce(JobRow.error_message, bindparam("message")),
    )
)
_GO_ON_SHORT = (
    update(JobRow)
    .where(JobRow.id == JOB_ID, LACKS_MEMBERS)
    .values({**_WAITS_ANEW, "status": JobStatus.SUCCEEDED, "finished_at": now()})
    .returning(*FAN_IN)
)
_ENDED = (JobRow.part_id.in_(bindparam("members", expanding=True)), JobRow.status.in_(sorted(JOB_WITHOUT_RESULT)))
_ENDED_OF_MEMBERS = (
    select(JobRow.id, JobRow.kind, JobRow.status, JobRow.after_id).where(*_ENDED).order_by(JobRow.id)
)
_LOST_FAN_INS = select(JobRow.id).where(*_ENDED, JobRow.kind.in_(sorted(FAN_INS)))
_before, _member = aliased(JobRow), aliased(JobRow)
_is_ready = or_(
    JobRow.after_id.is_(None),
    exists().where(
        _before.id == JobRow.after_id,
        or_(
            _before.status == JobStatus.SUCCEEDED,
            # What comes after it takes nothing from it.
            and_(
                _before.status == JobStatus.FAILED,
                _before.on_failure == OnFailure.CONTINUE,
                _before.part_id.is_(None),
            ),
        ),
    ),
)
_delay = bindparam("seconds", type_=Float())
# A sleep keeps the time at which it is over.
_at = case((JobRow.kind == JobKind.SLEEP, func.coalesce(JobRow.due_at, now())), else_=seconds_from_now(_delay))
_REVIVE_JOBS = (
    update(JobRow)
    .where(*_ENDED, JobRow.kind.not_in(sorted(FAN_INS)))
    .values(
        {
            **_WAITS_ANEW,
            **REVIVED,
            **due_or_waiting(_is_ready, _at),
            "remaining": case((_is_ready, 0), else_=1),
        }
    )
)
_UNMARK_ALL = update(JobRow).where(JobRow.id.in_(bindparam("members", expanding=True))).values(is_missing=False)
_there = select(func.count()).where(_member.join_id == JobRow.id)
_WAIT_ANEW = (
    update(JobRow)
    .where(JobRow.id == JOB_ID, JobRow.status.in_(sorted(JOB_WITHOUT_RESULT)))
    .values(
        **_WAITS_ANEW,
        missing=0,
        # One that has no members waits for the job before it.
        remaining=case(
            (
                exists().where(_member.join_id == JobRow.id),
                _there.where(_member.status != JobStatus.SUCCEEDED).scalar_subquery(),
            ),
            else_=1,
        ),
    )
)


def mark_missing(tx: Transaction, part_id: uuid.UUID) -> AnyRow | None:
    """Note that a member of a fan-in will not come, and count it; the columns of FAN_IN.

    None where it was noted before, or the fan-in has gone on: only the first loss of a member counts.
    """
    _lock_member(tx, part_id)
    join_id = tx.connection.scalar(_MARK, {"job_id": part_id})
    return None if join_id is None else tx.connection.execute(_COUNT_MISSING, {"job_id": join_id}).one_or_none()


def unmark_missing(tx: Transaction, part_id: uuid.UUID) -> uuid.UUID | None:
    """Take back that a member is missing; the id of its fan-in, or None where it was not, or that has gone on."""
    join_id: uuid.UUID | None = tx.connection.scalar(_UNMARK, {"job_id": part_id})
    if join_id is None or tx.connection.execute(_COUNT_BACK, {"job_id": join_id}).rowcount == 0:
        return None
    return join_id


def lock_late(tx: Transaction, join_id: uuid.UUID, members: Sequence[uuid.UUID]) -> bool:
    """Lock the jobs of a fan-in's *members* that may end, and then it, as a completion of a member does.

    False where its time is not over, or it does not wait any more.
    """
    for batch in batches(members):
        tx.connection.execute(_LOCK_TO_END, {"members": batch})
    return tx.connection.scalar(_LOCK_LATE, {"job_id": join_id}) is not None


def close_fan_in(tx: Transaction, join_id: uuid.UUID, late: Sequence[uuid.UUID]) -> AnyRow | None:
    """Count the members in *late* as missing, so that nothing is waited for; the columns of FAN_IN, or None."""
    for batch in batches(late):
        tx.connection.execute(_MARK_LATE, {"members": batch})
    return tx.connection.execute(_CLOSE, {"job_id": join_id, "late": len(late)}).one_or_none()


def go_on_short(tx: Transaction, join_id: uuid.UUID) -> AnyRow | None:
    """Failed to succeeded for a fan-in with missing members; the columns of FAN_IN, or None for others."""
    return tx.connection.execute(_GO_ON_SHORT, {"job_id": join_id}).one_or_none()


def revive_members(
    tx: Transaction, join_id: uuid.UUID, *, attempts: int | None, delay: float
) -> list[AnyRow] | None:
    """Let the missing members of a fan-in run again, and it wait for them, as ``revive`` does.

    What had failed or was cancelled becomes scheduled, or waits for what is before it, also in fan-ins inside.
    Returns id and status before of each job but *join_id*; None where no member of that is missing.
    """
    if (
        tx.connection.scalar(select(JobRow.id).where(JobRow.id == join_id, LACKS_MEMBERS).with_for_update())
        is None
    ):
        return None
    revived: list[AnyRow] = []
    fan_ins = [join_id]
    while fan_ins:
        fan_in = fan_ins.pop()
        members = tx.connection.scalars(select(JobRow.id).where(JobRow.join_id == fan_in, JobRow.is_missing)).all()
        for batch in batches(members):
            # First, since it locks them: what fails in them from now on makes them missing again.
            tx.connection.execute(_UNMARK_ALL, {"members": batch})
            rows = tx.connection.execute(_ENDED_OF_MEMBERS, {"members": batch}).all()
            revived += rows
            fan_ins += [row.id for row in rows if row.kind in FAN_INS]
            values = {"members": batch, "seconds": delay, "attempts": attempts}
            tx.connection.execute(_REVIVE_JOBS, values)
        tx.connection.execute(_WAIT_ANEW, {"job_id": fan_in})
    return revived


def cancel_members(tx: Transaction, members: Sequence[uuid.UUID], why: Failure) -> int:
    """Cancel all open jobs that lead to these *members*, also in fan-ins inside them; returns how many."""
    count = 0
    for batch in batches(members):
        # Again and again: while the first statement read, an each may have been expanded or a job replayed.
        while cancelled := _cancel_open(tx, batch, why):
            count += cancelled
    return count


def _cancel_open(tx: Transaction, members: Sequence[uuid.UUID], why: Failure) -> int:
    tx.connection.execute(_LOCK_TO_END, {"members": members})
    cancelled = tx.connection.execute(_CANCEL, {"members": members, **failure_values(why)}).rowcount
    inner = tx.connection.scalars(_LOST_FAN_INS, {"members": members}).all()
    return cancelled + (_cancel_members(tx, inner, why) if inner else 0)


def _cancel_members(tx: Transaction, fan_ins: Sequence[uuid.UUID], why: Failure) -> int:
    """The members of inner fan-ins that do not come are missing too."""
    undone = (JobRow.part_id == JobRow.id, JobRow.status != JobStatus.SUCCEEDED)
    members = tx.connection.scalars(select(JobRow.id).where(JobRow.join_id.in_(fan_ins), *undone)).all()
    for batch in batches(members):
        tx.connection.execute(_MARK_LATE, {"members": batch})
    return cancel_members(tx, members, why)


def _lock_member(tx: Transaction, part_id: uuid.UUID) -> None:
    """Wait for a concurrent loss or revival of a member, so that one of two sees the failures in it."""
    tx.connection.execute(_LOCK, {"job_id": part_id})
