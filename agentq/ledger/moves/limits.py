"""The moves of limits: a blocked job is admitted with a slot of each of its limits, and gives them back at its
end.

The row of a job says which slots it holds: ``held`` of its ``limits``, from the first. Each move that changes
``held`` changes ``used`` of those limits in the same transaction. Locks are taken in one order: jobs, then limits
by name, then turns.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    Connection,
    Integer,
    Select,
    String,
    Text,
    Uuid,
    and_,
    bindparam,
    case,
    false,
    func,
    literal_column,
    null,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import aliased

from agentq.ledger.db.leaps import distinct_by_index
from agentq.ledger.db.statement import Prepared
from agentq.ledger.db.types import AnyRow, UtcDateTime, in_code_order
from agentq.ledger.models import JobRow, LimitRow, TenantRow, TurnRow
from agentq.ledger.moves.holds import MAY_RUN_UNTIL, is_timed, keep_slots
from agentq.ledger.moves.meters import HAS_ROOM, ROOM, TOKENS_LEFT
from agentq.ledger.moves.ramp import given_back
from agentq.ledger.moves.ready import ADMITTED, PLACE, in_line_of, rank
from agentq.ledger.moves.shared import DISPATCH, JOB_ID
from agentq.ledger.transaction import Transaction
from agentq.states import HOLDING, BlockedBy, JobStatus

MOST_TENANTS = 8
"""Tenants whose first jobs are tried, where others are just at them."""

# Written, not bound: PostgreSQL plans a prepared statement without its values, and then takes no partial index and
# expects many rows.
_NONE, _ONE = literal_column("0", Integer()), literal_column("1", Integer())
LIMIT = bindparam("limit", type_=String())
_NAMES = bindparam("limits", type_=String(), expanding=True)
_TENANT = bindparam("of_tenant", type_=String())
_JOB_IDS = bindparam("job_ids", type_=Uuid(), expanding=True)

BLOCKED_BY_LIMIT = and_(JobRow.status == JobStatus.BLOCKED, JobRow.blocked_by == BlockedBy.LIMIT)
"""A job that stands in the line of a limit."""
IN_LINE = and_(BLOCKED_BY_LIMIT, JobRow.blocked_on == LIMIT)
SPENT = and_(JobRow.held > _NONE, JobRow.status.not_in(sorted(HOLDING)))
"""A job that neither runs nor is about to, and has yet to give back its slots."""

_upserts = {dialect.dialect.name: dialect for dialect in (postgresql, sqlite)}
_AWAIT = update(LimitRow).where(LimitRow.name == LIMIT).values(is_awaited=true(), awaits=LimitRow.awaits + 1)

_other = aliased(TurnRow)


def _waits(turn: Any) -> ColumnElement[bool]:
    """Say whether a job stands in the line whose tenant has this *turn*."""
    # Not EXISTS: PostgreSQL would make a join of it, which may read the whole line for each turn.
    first = select(JobRow.id).where(IN_LINE, JobRow.tenant == turn.tenant).limit(_ONE)
    return first.scalar_subquery().is_not(None)


WAITS = and_(~TurnRow.is_idle, _waits(TurnRow))
"""A turn of a tenant that has a job in the line; many more may have had one once."""
_next_served = (
    select(_other.served)
    .where(_other.name == LIMIT, ~_other.is_idle, _other.tenant != _TENANT, _waits(_other))
    .order_by(_other.served)
    .limit(_ONE)
)
_last_served = (
    select(_other.served).where(_other.name == LIMIT, _other.is_idle).order_by(_other.served.desc()).limit(_ONE)
)


def _take_turn(dialect: Any) -> Any:
    """A tenant that comes, or comes back, has no credit for the time that it had no job in the line."""
    least = func.coalesce(_next_served.scalar_subquery(), _last_served.scalar_subquery(), 0.0)
    new = dialect.insert(TurnRow).values(name=LIMIT, tenant=_TENANT, served=least, is_idle=false(), entered=1)
    later = case((TurnRow.served > new.excluded.served, TurnRow.served), else_=new.excluded.served)
    return new.on_conflict_do_update(
        index_elements=["name", "tenant"],
        set_={
            "served": case((TurnRow.is_idle, later), else_=TurnRow.served),
            "is_idle": false(),
            "entered": TurnRow.entered + 1,
        },
    )


_TAKE_TURN = {name: _take_turn(dialect) for name, dialect in _upserts.items()}
_before = aliased(TurnRow)


def is_idle_after(tenant: Any, others_wait: Select[Any]) -> ColumnElement[bool]:
    """Say whether the turn of *tenant* is idle after a job of it was admitted.

    As with ``awaits`` of a limit, the number is compared with the newest one: a job that this statement does not
    see has raised it.
    """
    seen = select(_before.entered).where(_before.name == LIMIT, _before.tenant == tenant).scalar_subquery()
    return and_(~others_wait.exists(), TurnRow.entered == seen)


_weight = func.coalesce(select(TenantRow.weight).where(TenantRow.tenant == _TENANT).scalar_subquery(), 1.0)
_others_wait = select(JobRow.id).where(IN_LINE, JobRow.tenant == _TENANT, JobRow.id != JOB_ID).limit(_ONE)
_served = TurnRow.served + 1.0 / _weight
_turn_of_tenant = update(TurnRow).where(TurnRow.name == LIMIT, TurnRow.tenant == _TENANT)
_SERVED = Prepared(_turn_of_tenant.values(served=_served, is_idle=is_idle_after(_TENANT, _others_wait)))
_CHARGE = _turn_of_tenant.values(served=_served)

_HAS_ROOM = Prepared(select(LimitRow.name).where(LimitRow.name == LIMIT, ROOM > _NONE))
_NEXT_TENANTS = Prepared(
    select(TurnRow.tenant)
    .where(TurnRow.name == LIMIT, WAITS)
    .order_by(TurnRow.served, TurnRow.tenant)
    .limit(literal_column(str(MOST_TENANTS)))
)
_first_of_tenant = (
    select(JobRow.id, JobRow.tenant, JobRow.limits, JobRow.held, JobRow.refused, JobRow.pays, JobRow.tokens)
    .where(IN_LINE, JobRow.tenant == _TENANT)
    .order_by(*PLACE)
    .limit(_ONE)
)
_FIRST = Prepared(_first_of_tenant)
_LOCK_FIRST = Prepared(_first_of_tenant.with_for_update(skip_locked=True, key_share=True))
_LOCK = Prepared(
    select(LimitRow.name, ROOM.label("room"), LimitRow.kept_for, *TOKENS_LEFT)
    .where(LimitRow.name.in_(_NAMES))
    .order_by(in_code_order(LimitRow.name))
    .with_for_update(key_share=True)
)
_STILL_IN_LINE = and_(
    JobRow.id == JOB_ID,
    # Not "=": PostgreSQL would then take the index of the lines, and read the whole line, not the key.
    JobRow.status.is_not_distinct_from(JobStatus.BLOCKED),
    JobRow.blocked_on == LIMIT,
)
_ADMIT = Prepared(
    update(JobRow)
    .where(_STILL_IN_LINE)
    .values(ADMITTED | {"held": bindparam("now_held", type_=Integer()), "is_outstanding": JobRow.pays})
    .returning(*DISPATCH)
)
_REFUSE = (
    update(JobRow)
    .where(_STILL_IN_LINE)
    .values(
        held=bindparam("now_held", type_=Integer()),
        refused=JobRow.refused + 1,
        blocked_on=bindparam("refused_by", type_=String()),
    )
)
_keeper = bindparam("keeper", type_=Uuid())
_TAKE = Prepared(
    update(LimitRow)
    .where(LimitRow.name.in_(_NAMES))
    .values(used=LimitRow.used + 1, kept_for=func.coalesce(_keeper, LimitRow.kept_for))
)
# Of one limit of a job that pays: each has its own tokens.
_TAKE_TO_PAY = (
    update(LimitRow)
    .where(LimitRow.name == LIMIT)
    .values(
        used=LimitRow.used + bindparam("taken", type_=Integer()),
        outstanding=LimitRow.outstanding + 1,
        outstanding_tokens=LimitRow.outstanding_tokens + bindparam("reserving", type_=BigInteger()),
    )
)
_KEEP_NO_LONGER = Prepared(
    update(LimitRow).where(LimitRow.kept_for == _keeper, LimitRow.name.in_(_NAMES)).values(kept_for=null())
)

# The number is read in the snapshot in which nobody waits, and compared with the newest one: whoever began to wait
# since has raised it.
_seen = aliased(LimitRow)
_AWAIT_NO_LONGER = Prepared(
    update(LimitRow)
    .where(
        LimitRow.name == LIMIT,
        LimitRow.is_awaited,
        LimitRow.awaits == select(_seen.awaits).where(_seen.name == LIMIT).scalar_subquery(),
        ~select(JobRow.id).where(IN_LINE).limit(_ONE).exists(),
    )
    .values(is_awaited=false())
)

_SPENT_JOBS = (
    select(
        *(JobRow.id, JobRow.limits, JobRow.held, JobRow.status, JobRow.attempt, JobRow.started_at),
        *(JobRow.is_outstanding, JobRow.tokens, MAY_RUN_UNTIL.label("may_run_until")),
    )
    .where(SPENT)
    .order_by(JobRow.id)
    .limit(bindparam("most"))
    .with_for_update(skip_locked=True, key_share=True)
)
_SPENT_ONE = Prepared(_SPENT_JOBS.where(JobRow.id == JOB_ID))
_GIVE_BACK = Prepared(update(JobRow).where(JobRow.id.in_(_JOB_IDS)).values(held=0, is_outstanding=false()))
_FREE = Prepared(
    update(LimitRow)
    .where(LimitRow.name == LIMIT)
    .values(
        **given_back(
            bindparam("began_at", type_=UtcDateTime()),
            bindparam("succeeded", type_=Boolean()),
            bindparam("freed", type_=Integer()),
        ),
        outstanding=LimitRow.outstanding - bindparam("unpaid", type_=Integer()),
        outstanding_tokens=LimitRow.outstanding_tokens - bindparam("unpaid_tokens", type_=BigInteger()),
        kept_for=case((LimitRow.kept_for.in_(_JOB_IDS), null()), else_=LimitRow.kept_for),
    )
    .returning(LimitRow.is_awaited)
)
_NO_ATTEMPT = {"began_at": None, "succeeded": False}
_LIMITS_OF = select(JobRow.limits, JobRow.tokens).where(JobRow.id == JOB_ID)
_STAND_IN_LINE = (
    update(JobRow)
    .where(JobRow.id == JOB_ID, JobRow.status.is_not_distinct_from(JobStatus.SCHEDULED), JobRow.held == _NONE)
    .values(
        **in_line_of(bindparam("first", type_=Text())),
        limits=bindparam("limits_now", type_=JobRow.__table__.c.limits.type),
        tokens=bindparam("tokens_now", type_=JobRow.__table__.c.tokens.type),
        rank_at=func.coalesce(JobRow.rank_at, rank(JobRow.workflow_id, JobRow.priority)),
        pays=or_(JobRow.pays, bindparam("is_timed", type_=Boolean())),
        due_at=null(),
    )
    .returning(*DISPATCH)
)
_lines = distinct_by_index(JobRow.blocked_on, BLOCKED_BY_LIMIT)
_LINES = select(_lines.c.blocked_on).where(_lines.c.blocked_on.is_not(None))
# Not EXISTS: PostgreSQL would read all limits.
_its_limit = select(LimitRow.name).where(LimitRow.name == _lines.c.blocked_on).scalar_subquery()
_MISSING = _LINES.where(_its_limit.is_(None))
_tenants = distinct_by_index(JobRow.tenant, IN_LINE)
_turn = select(TurnRow.name).where(TurnRow.name == LIMIT, TurnRow.tenant == _tenants.c.tenant, ~TurnRow.is_idle)
_is_awaited = select(LimitRow.name).where(LimitRow.name == LIMIT, LimitRow.is_awaited)
_UNAWAITED_TENANTS = select(_tenants.c.tenant).where(
    _tenants.c.tenant.is_not(None), or_(~_turn.exists(), ~_is_awaited.exists())
)
_STALE = (
    select(TurnRow.tenant.label("stale_tenant"))
    .where(TurnRow.name == LIMIT, ~TurnRow.is_idle, ~_waits(TurnRow))
    .limit(_ONE)
)
_REST = (
    update(TurnRow)
    .where(
        TurnRow.name == LIMIT,
        ~TurnRow.is_idle,
        ~_waits(TurnRow),
        TurnRow.entered
        == select(_before.entered)
        .where(_before.name == TurnRow.name, _before.tenant == TurnRow.tenant)
        .scalar_subquery(),
    )
    .values(is_idle=true())
)
_WITH_ROOM = select(LimitRow.name).where(HAS_ROOM).order_by(LimitRow.name).limit(bindparam("most"))


def await_slot(tx: Transaction, limit: str, tenant: str) -> None:
    """Note that jobs of *tenant* stand in the line of *limit*, whose rows were committed before.

    It waits for a transaction that frees a slot just then: either that one sees the jobs, or the caller sees the
    slot.
    """
    values = {"limit": limit, "of_tenant": tenant}
    tx.connection.execute(_AWAIT, values)
    tx.connection.execute(_TAKE_TURN[tx.connection.dialect.name], values)


def charge_turn(tx: Transaction, limit: str, tenant: str) -> None:
    """Count a turn of *tenant* in the line of *limit* without an admission."""
    tx.connection.execute(_CHARGE, {"limit": limit, "of_tenant": tenant})


def await_no_longer(tx: Transaction, limit: str) -> None:
    """Note that no job stands in the line of *limit*, unless one does."""
    _AWAIT_NO_LONGER.count(tx.connection, {"limit": limit})


def has_room(tx: Transaction, limit: str) -> bool:
    """Say whether a job may be admitted to *limit* now."""
    return _HAS_ROOM.scalar(tx.connection, {"limit": limit}) is not None


def lock_first_in_line(tx: Transaction, limit: str) -> AnyRow | None:
    """Lock the job whose turn it is in the line of *limit*; None where there is none, or others have locked it."""
    return _first(tx.connection, limit, _LOCK_FIRST)


def first_in_line(connection: Connection, limit: str) -> AnyRow | None:
    """Return the job whose turn it is in the line of *limit*, or None."""
    return _first(connection, limit, _FIRST)


def lock_limits(tx: Transaction, limits: Collection[str]) -> dict[str, AnyRow]:
    """Lock limits in the order of their names; for each its ``room``, whom it is ``kept_for``, and TOKENS_LEFT."""
    return {row.name: row for row in _LOCK.all(tx.connection, {"limits": list(limits)})}


def admit(tx: Transaction, limit: str, job: AnyRow, taken: Sequence[str]) -> AnyRow | None:
    """Blocked to queued for the *job* in the line of *limit*, with a slot of each of *taken*; locked, all of them.

    Returns the columns of DISPATCH.
    """
    values = {"limit": limit, "job_id": job.id, "now_held": job.held + len(taken)}
    admitted = _ADMIT.one_or_none(tx.connection, values)
    if admitted is not None:
        _take(tx, job, taken)
        if job.held:
            _KEEP_NO_LONGER.count(tx.connection, {"limits": job.limits[: job.held], "keeper": job.id})
        _SERVED.count(tx.connection, values | {"of_tenant": job.tenant})
    return admitted


def refuse(tx: Transaction, limit: str, job: AnyRow, full: str, kept: Sequence[str]) -> None:
    """Move the *job* from the line of *limit* into that of a *full* one; it takes a slot of each of *kept*."""
    values = {"limit": limit, "job_id": job.id, "now_held": job.held + len(kept), "refused_by": full}
    tx.connection.execute(_REFUSE, values)
    if kept:
        _TAKE.count(tx.connection, {"limits": list(kept), "keeper": job.id})
    await_slot(tx, full, job.tenant)


def give_back(tx: Transaction, job_id: uuid.UUID | None, most: int) -> list[str]:
    """Take their slots from jobs that are SPENT, of this id or all; returns the limits that are awaited.

    Where code of a lost attempt may run on, the attempt keeps the slots of strict limits. Up to *most* jobs;
    those that others are at are left to them.
    """
    if job_id is None:
        spent = tx.connection.execute(_SPENT_JOBS, {"most": most}).all()
    else:
        spent = _SPENT_ONE.all(tx.connection, {"most": most, "job_id": job_id})
    if not spent:
        return []
    ids = [row.id for row in spent]
    _GIVE_BACK.count(tx.connection, {"job_ids": ids})
    names = sorted({name for row in spent for name in row.limits[: row.held]})
    kept = keep_slots(tx, spent)
    return [name for name in names if free_slots(tx, name, spent, _last_of(name, spent), kept[name])]


def free_slots(
    tx: Transaction, limit: str, jobs: Sequence[AnyRow], last: Mapping[str, Any] = _NO_ATTEMPT, kept: int = 0
) -> bool:
    """Free the slots of *limit* that these *jobs* have given back, but for *kept*; says whether it is awaited.

    Each has id, limits, tokens, held and is_outstanding as they were before. *last* says when the last attempt of
    theirs ``began_at``, if one did, and whether it ``succeeded``.
    """
    unpaid = [job for job in jobs if job.is_outstanding and limit in job.limits]
    values = {
        "limit": limit,
        "freed": sum(limit in job.limits[: job.held] for job in jobs) - kept,
        "unpaid": len(unpaid),
        "unpaid_tokens": sum(tokens_by_limit(job)[limit] for job in unpaid),
        "job_ids": [job.id for job in jobs],
    }
    return bool(_FREE.scalar(tx.connection, {**values, **last}))


def missing(connection: Connection) -> list[str]:
    """Return the limits that jobs wait for and that are not there: each was deleted while a start named it."""
    return list(connection.scalars(_MISSING))


def _last_of(limit: str, spent: Sequence[AnyRow]) -> dict[str, Any]:
    """Return when the last attempt began that held *limit*, and whether it succeeded."""
    began = [(row.started_at, row.status) for row in spent if row.started_at and limit in row.limits[: row.held]]
    began_at, status = max(began, default=(None, None))
    return {"began_at": began_at, "succeeded": status == JobStatus.SUCCEEDED}


def stand_in_line(tx: Transaction, job_id: uuid.UUID, limit: str, needed: int) -> AnyRow | None:
    """Scheduled to blocked for a job that has given its slots back, and needs one of *limit* too from now on.

    Its attempts are expected to use *needed* tokens of it. Returns the columns of DISPATCH.
    """
    job = tx.connection.execute(_LIMITS_OF, {"job_id": job_id}).one()
    # In the order of their names.
    tokens = dict(sorted({limit: needed, **(tokens_by_limit(job) if job.limits else {})}.items()))
    values = {"first": min(tokens), "limits_now": list(tokens), "is_timed": is_timed(tx, limit)}
    values |= {"tokens_now": list(tokens.values()) if job.tokens or needed else None}
    return tx.connection.execute(_STAND_IN_LINE, values | {"job_id": job_id}).one_or_none()


def tokens_by_limit(job: AnyRow) -> dict[str, int]:
    """Return the tokens that an attempt at a job is expected to use, by the names of its limits."""
    return dict(zip(job.limits, job.tokens or [0] * len(job.limits), strict=True))


def _first(connection: Connection, limit: str, query: Prepared) -> AnyRow | None:
    for (tenant,) in _NEXT_TENANTS.all(connection, {"limit": limit}):
        row = query.one_or_none(connection, {"limit": limit, "of_tenant": tenant})
        if row is not None:
            return row
    return None


def _take(tx: Transaction, job: AnyRow, taken: Sequence[str]) -> None:
    if not job.pays:
        _TAKE.count(tx.connection, {"limits": list(taken), "keeper": None})
        return
    for name, tokens in tokens_by_limit(job).items():
        tx.connection.execute(_TAKE_TO_PAY, {"limit": name, "taken": int(name in taken), "reserving": tokens})


def unawaited(connection: Connection) -> list[tuple[str, str]]:
    """Return limit and tenant of the jobs that stand in a line that is not awaited: ``await_slot`` does."""
    lines = connection.scalars(_LINES).all()
    return [
        (limit, tenant) for limit in lines for tenant in connection.scalars(_UNAWAITED_TENANTS, {"limit": limit})
    ]


def with_stale_turns(connection: Connection) -> list[str]:
    """Return the limits with turns of tenants whose last jobs left the line without being admitted."""
    lines = connection.scalars(_LINES).all()
    return [limit for limit in lines if connection.scalar(_STALE, {"limit": limit}) is not None]


def rest_turns(tx: Transaction, limit: str) -> None:
    """Let the turns of tenants be idle that have no job in the line of *limit*."""
    lock_limits(tx, [limit])  # so that nobody who has locked one turn waits for another one
    tx.connection.execute(_REST, {"limit": limit})


def with_room(connection: Connection, most: int) -> list[str]:
    """Return up to *most* limits that HAS_ROOM picks."""
    return list(connection.scalars(_WITH_ROOM, {"most": most}))
