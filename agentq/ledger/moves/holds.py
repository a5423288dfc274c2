"""The moves of slots that attempts hold beside those of their jobs: taken inside a step, or lost with a worker.

Each move that writes or deletes a hold changes ``used`` of its limit in the same transaction, unless the slot goes
from the job to the hold. Locks are taken in one order: jobs, then holds by id, then limits by name.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import (
    Boolean,
    Float,
    Integer,
    String,
    Uuid,
    and_,
    bindparam,
    case,
    delete,
    func,
    insert,
    literal_column,
    or_,
    select,
    update,
)

from agentq.ids import new_id
from agentq.ledger.db.types import (
    AnyRow,
    UtcDateTime,
    clock,
    greatest,
    later,
    now,
    seconds_from_now,
    seconds_of,
)
from agentq.ledger.losses import DEADLINE_EXCEEDED
from agentq.ledger.models import AttemptRow, HoldRow, JobRow, LimitRow
from agentq.ledger.moves.meters import AT_ONCE, IS_OPEN, RATE, TOKENS
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
        select(seconds_of(HoldRow.created_at) - clock())
        .where(HoldRow.id == _HOLD)
        .scalar_subquery()
        .label("begins_in"),
    )
    .where(MINE)
    .with_for_update(read=True)
)
_SLOTS, _TOKENS = bindparam("taken", type_=Integer()), bindparam("of_tokens", type_=Integer())
_NO_TIME = literal_column("0.0", Float())
# As the claim of a job has it: more than may come at once goes when nothing is owed.
_at_once = greatest(TOKENS.burst, _TOKENS)


def _latest(*times: Any) -> Any:
    return greatest(_NO_TIME, *(func.coalesce(time, _NO_TIME) for time in times))


_due = _latest(RATE.due - (RATE.burst - 1) * RATE.gap, TOKENS.due + (_TOKENS - _at_once) * TOKENS.gap)
_start = greatest(clock(), _due)
# The same of a limit that has paid for a start.
_paid_for = _latest(RATE.due - RATE.burst * RATE.gap, TOKENS.due - _at_once * TOKENS.gap)
_TAKE = (
    update(LimitRow)
    .where(
        LimitRow.name == _LIMIT,
        IS_OPEN,
        or_(_SLOTS == _ZERO, AT_ONCE.is_(None), LimitRow.used < AT_ONCE),
        _due <= clock() + bindparam("most", type_=Float()),
    )
    .values(
        used=LimitRow.used + _SLOTS,
        rate_due=func.coalesce(greatest(LimitRow.rate_due, _start) + RATE.gap, LimitRow.rate_due),
        tokens_due=func.coalesce(
            greatest(LimitRow.tokens_due, _start) + _TOKENS * TOKENS.gap, LimitRow.tokens_due
        ),
    )
    .returning(
        LimitRow.is_strict,
        TOKENS.limit.is_not(None).label("counts_tokens"),
        greatest(_NO_TIME, _paid_for - clock()).label("begins_in"),
    )
)
_cooldown = func.coalesce(seconds_of(LimitRow.cooldown_until) - clock(), _NO_TIME)
_STATE = select(
    LimitRow.used,
    AT_ONCE.label("slots"),
    (~IS_OPEN).label("cools"),
    greatest(_NO_TIME, _cooldown, _due - clock()).label("due_in"),
).where(LimitRow.name == _LIMIT)
_IS_TIMED = select(or_(RATE.limit.is_not(None), TOKENS.limit.is_not(None))).where(LimitRow.name == _LIMIT)
_columns = ("id", "name", "job_id", "attempt", "until", "created_at")
_HOLD_IT = insert(HoldRow).from_select(
    _columns,
    select(
        _HOLD,
        _LIMIT,
        JobRow.id,
        JobRow.attempt,
        case((bindparam("is_strict", type_=Boolean()), CODE_ENDS_AT)),
        seconds_from_now(bindparam("begins_in", type_=Float())),
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
    .values(
        given_back(
            bindparam("began_at", type_=UtcDateTime()),
            bindparam("succeeded", type_=Boolean()),
            bindparam("freed", type_=Integer()),
        )
    )
    .returning(LimitRow.is_awaited)
)


def lock_own_job(tx: Transaction, hold: uuid.UUID, job_id: uuid.UUID, attempt: int) -> AnyRow | None:
    """Lock the job of an attempt, so that its end waits for that of *tx*; None where it is not running any more.

    The row has ``hard_timeout``, and ``begins_in`` where this hold is there already: the seconds until its call
    begins.
    """
    values = {"hold": hold, "job_id": job_id, "held_attempt": attempt}
    return tx.connection.execute(_MY_JOB, values).one_or_none()


def take_slot(tx: Transaction, limit: str, slots: int, tokens: int, most: float) -> AnyRow | None:
    """Take *slots*, 1 or 0, of a limit where one is free, and pay for a start that is due in *most* seconds.

    The start uses *tokens*. None where the limit cools, or has no slot or no start so soon. The row has
    ``is_strict``, ``counts_tokens``, and ``begins_in``: the seconds until the start is due.
    """
    values = {"limit": limit, "taken": slots, "of_tokens": tokens, "most": most}
    return tx.connection.execute(_TAKE, values).one_or_none()


def slots_of(tx: Transaction, limit: str, tokens: int) -> AnyRow | None:
    """Return ``used`` and ``slots`` of a limit, whether it ``cools``, and ``due_in``; None where it is not there.

    ``due_in`` are the seconds until a start that uses *tokens* may be paid, whatever slots are free.
    """
    return tx.connection.execute(_STATE, {"limit": limit, "of_tokens": tokens}).one_or_none()


def is_timed(tx: Transaction, limit: str) -> bool:
    """Say whether a limit counts starts or tokens."""
    return bool(tx.connection.scalar(_IS_TIMED, {"limit": limit}))


def hold(
    tx: Transaction, hold: uuid.UUID, limit: str, job_id: uuid.UUID, *, is_strict: bool, begins_in: float
) -> None:
    """Write that the running attempt of a job holds a slot of *limit*, which *tx* has taken."""
    values = {"hold": hold, "limit": limit, "job_id": job_id, "is_strict": is_strict, "begins_in": begins_in}
    tx.connection.execute(_HOLD_IT, values)


def free_hold(tx: Transaction, hold: uuid.UUID, *, succeeded: bool = False) -> tuple[AnyRow | None, list[str]]:
    """Free the slot of a hold, whose call has *succeeded* or not; None where it was freed before.

    Returns its ``name`` and ``created_at``, and the limit where that is awaited.
    """
    freed = tx.connection.execute(_DELETE_ONE, {"hold": hold}).one_or_none()
    return freed, [] if freed is None else _free(tx, [freed], succeeded=succeeded)


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


def _free(tx: Transaction, holds: Sequence[AnyRow], *, succeeded: bool = False) -> list[str]:
    awaited = []
    for name, freed in sorted(Counter(row.name for row in holds).items()):
        began_at = max(row.created_at for row in holds if row.name == name)
        values = {"limit": name, "freed": freed, "began_at": began_at, "succeeded": succeeded}
        if tx.connection.scalar(_FREE, values):
            awaited.append(name)
    return awaited
