"""The moves of slots that attempts hold beside those of their jobs: taken inside a step, or lost with a worker.

Each move that writes or deletes a hold changes ``used`` of its limit in the same transaction, unless the slot goes
from the job to the hold. Locks are taken in one order: jobs, then holds by id, then limits by name.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterable, Sequence

from sqlalchemy import (
    Boolean,
    Integer,
    String,
    Uuid,
    and_,
    bindparam,
    case,
    delete,
    false,
    insert,
    literal_column,
    or_,
    select,
    update,
)

from agentq.ids import new_id
from agentq.ledger.db.types import AnyRow, UtcDateTime, later, now
from agentq.ledger.losses import DEADLINE_EXCEEDED
from agentq.ledger.models import AttemptRow, HoldRow, JobRow, LimitRow
from agentq.ledger.moves.meters import AT_ONCE, RATE, ROOM, TOKENS
from agentq.ledger.moves.ramp import given_back
from agentq.ledger.moves.shared import JOB_ID, MINE
from agentq.ledger.transaction import Transaction
from agentq.states import AttemptOutcome, JobStatus

_LIMIT = bindparam("limit", type_=String())
_HOLD = bindparam("hold", type_=Uuid())
_ATTEMPT = bindparam("held_attempt", type_=Integer())
_ZERO = literal_column("0", Integer())

CODE_ENDS_AT = later(JobRow.started_at, JobRow.__table__.c.hard_timeout)
"""The time from which no code of a job's last attempt can run; NULL for one without a hard timeout."""
_was_taken_away = (
    select(AttemptRow.number)
    .where(
        AttemptRow.job_id == JobRow.id,
        AttemptRow.number == JobRow.attempt,
        or_(
            AttemptRow.outcome == AttemptOutcome.LOST,
            # By somebody else: a step that cancels itself says so.
            and_(AttemptRow.outcome == AttemptOutcome.CANCELLED, AttemptRow.error_class.is_(None)),
            AttemptRow.error_class == DEADLINE_EXCEEDED.error_class,
        ),
    )
    .exists()
)
MAY_RUN_UNTIL = case((and_(now() < CODE_ENDS_AT, _was_taken_away), CODE_ENDS_AT))
"""The time until which code of a job's last attempt may run, which was taken from its worker; NULL for none."""
SLOTS_ARE_ITS_OWN = or_(JobRow.held == _ZERO, ~_was_taken_away)
"""A job that may begin an attempt with the slots that it has: none of them is one that a lost attempt keeps."""

_running = select(JobRow.id).where(
    JobRow.id == HoldRow.job_id,
    # Not "=": PostgreSQL would then take the small index of running jobs, and read all of it, not the key.
    JobRow.status.is_not_distinct_from(JobStatus.RUNNING),
    JobRow.attempt == HoldRow.attempt,
)
# Not EXISTS: PostgreSQL would make a join of it, which may read all holds.
_is_over = _running.scalar_subquery().is_(None)
SPENT_HOLD = and_(or_(HoldRow.until.is_(None), HoldRow.until <= now()), _is_over)
"""A hold whose attempt is over, and whose slot has yet to be given back."""
KEPT = and_(HoldRow.until > now(), _is_over)
"""A hold of a lost attempt whose code may run on."""

_MY_JOB = (
    select(
        JobRow.hard_timeout,
        select(HoldRow.id).where(HoldRow.id == _HOLD).exists().label("has_hold"),
    )
    .where(MINE)
    .with_for_update(read=True)
)
_is_timed = or_(RATE.limit.is_not(None), TOKENS.limit.is_not(None)).label("is_timed")
_TAKE = (
    update(LimitRow)
    .where(LimitRow.name == _LIMIT, ROOM > _ZERO)
    .values(used=LimitRow.used + 1)
    .returning(LimitRow.is_strict, _is_timed)
)
_STATE = select(LimitRow.used, AT_ONCE.label("slots"), _is_timed).where(LimitRow.name == _LIMIT)
_columns = ("id", "name", "job_id", "attempt", "until", "created_at")
_HOLD_IT = insert(HoldRow).from_select(
    _columns,
    select(
        _HOLD,
        _LIMIT,
        JobRow.id,
        JobRow.attempt,
        case((bindparam("is_strict", type_=Boolean()), CODE_ENDS_AT)),
        now(),
    ).where(JobRow.id == JOB_ID),
)
_STRICT = select(LimitRow.name).where(
    LimitRow.name.in_(bindparam("limits", type_=String(), expanding=True)), LimitRow.is_strict
)
_KEEP = insert(HoldRow)
_LOCK = select(HoldRow.id, HoldRow.name, HoldRow.created_at).order_by(HoldRow.id).with_for_update(skip_locked=True)
_LOCK_SPENT = _LOCK.where(SPENT_HOLD).limit(bindparam("most"))
_LOCK_OF_ATTEMPT = _LOCK.where(HoldRow.job_id == JOB_ID, HoldRow.attempt == _ATTEMPT)
_DELETE_ONE = delete(HoldRow).where(HoldRow.id == _HOLD).returning(HoldRow.name, HoldRow.created_at)
_DELETE = delete(HoldRow).where(HoldRow.id.in_(bindparam("holds", type_=Uuid(), expanding=True)))
_FREE = (
    update(LimitRow)
    .where(LimitRow.name == _LIMIT)
    .values(given_back(bindparam("began_at", type_=UtcDateTime()), false(), bindparam("freed", type_=Integer())))
    .returning(LimitRow.is_awaited)
)


def lock_own_job(tx: Transaction, hold: uuid.UUID, job_id: uuid.UUID, attempt: int) -> AnyRow | None:
    """Lock the job of an attempt, so that its end waits for that of *tx*; None where it is not running any more.

    The row has ``hard_timeout`` and ``has_hold``: whether this hold is there already.
    """
    values = {"hold": hold, "job_id": job_id, "held_attempt": attempt}
    return tx.connection.execute(_MY_JOB, values).one_or_none()


def take_slot(tx: Transaction, limit: str) -> AnyRow | None:
    """Take a slot of a limit where one is free; the row has ``is_strict`` and ``is_timed``."""
    return tx.connection.execute(_TAKE, {"limit": limit}).one_or_none()


def slots_of(tx: Transaction, limit: str) -> AnyRow | None:
    """Return ``used`` and ``slots`` of a limit, and whether it ``is_timed``; None where it is not there."""
    return tx.connection.execute(_STATE, {"limit": limit}).one_or_none()


def hold(tx: Transaction, hold: uuid.UUID, limit: str, job_id: uuid.UUID, *, is_strict: bool) -> None:
    """Write that the running attempt of a job holds a slot of *limit*, which *tx* has taken."""
    values = {"hold": hold, "limit": limit, "job_id": job_id, "is_strict": is_strict}
    tx.connection.execute(_HOLD_IT, values)


def free_hold(tx: Transaction, hold: uuid.UUID) -> list[str]:
    """Free the slot of a hold; returns its limit where that is awaited. Nothing where it was freed before."""
    return _free(tx, tx.connection.execute(_DELETE_ONE, {"hold": hold}).all())


def free_holds_of(tx: Transaction, job_id: uuid.UUID, attempt: int) -> list[str]:
    """Free all slots that an attempt holds, whose code has ended; returns the limits that are awaited."""
    values = {"job_id": job_id, "held_attempt": attempt}
    return _free_all(tx, tx.connection.execute(_LOCK_OF_ATTEMPT, values).all())


def free_spent_holds(tx: Transaction, most: int) -> list[str]:
    """Free the slots of up to *most* holds that are SPENT_HOLD; returns the limits that are awaited."""
    return _free_all(tx, tx.connection.execute(_LOCK_SPENT, {"most": most}).all())


def any_strict(tx: Transaction, limits: Sequence[str] | None) -> bool:
    """Say whether one of these limits is strict."""
    return bool(limits) and tx.connection.scalar(_STRICT, {"limits": list(limits or ())}) is not None


def keep_slots(tx: Transaction, spent: Iterable[AnyRow]) -> Counter[str]:
    """Let attempts keep the slots of strict limits whose code may run on; returns how many, by limit.

    *spent* are jobs that give their slots back, with ``id``, ``attempt``, ``started_at``, ``limits``, ``held``,
    and MAY_RUN_UNTIL as ``may_run_until``.
    """
    may_run = [row for row in spent if row.may_run_until is not None]
    names = {name for row in may_run for name in row.limits[: row.held]}
    strict = set(tx.connection.scalars(_STRICT, {"limits": sorted(names)})) if names else set()
    rows = [
        {
            "id": new_id(),
            "name": name,
            "job_id": row.id,
            "attempt": row.attempt,
            "until": row.may_run_until,
            "created_at": row.started_at,
        }
        for row in may_run
        for name in row.limits[: row.held]
        if name in strict
    ]
    if rows:
        tx.connection.execute(_KEEP, rows)
    return Counter(row["name"] for row in rows)


def _free_all(tx: Transaction, holds: Sequence[AnyRow]) -> list[str]:
    if holds:
        tx.connection.execute(_DELETE, {"holds": [row.id for row in holds]})
    return _free(tx, holds)


def _free(tx: Transaction, holds: Sequence[AnyRow]) -> list[str]:
    awaited = []
    for name, freed in sorted(Counter(row.name for row in holds).items()):
        began_at = max(row.created_at for row in holds if row.name == name)
        if tx.connection.scalar(_FREE, {"limit": name, "freed": freed, "began_at": began_at}):
            awaited.append(name)
    return awaited
