"""The moves of limits: a blocked job is admitted with a slot of each of its limits, and gives them back at its
end.

The row of a job says which slots it holds: ``held`` of its ``limits``, from the first. Each move that changes
``held`` changes ``used`` of those limits in the same transaction. Locks are taken in one order: jobs, then limits
by name, then turns.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Integer,
    Select,
    String,
    Uuid,
    and_,
    bindparam,
    case,
    false,
    func,
    insert,
    literal_column,
    null,
    or_,
    select,
    text,
    true,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import aliased

from agentq.ids import new_id
from agentq.ledger.db.leaps import distinct_by_index
from agentq.ledger.db.types import AnyRow, now
from agentq.ledger.models import JobRow, LimitChangeRow, LimitRow, TenantRow, TurnRow
from agentq.ledger.moves.ready import ADMITTED
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
_PREFIX, _SLOTS = bindparam("prefix", type_=String()), bindparam("slots", type_=Integer())
_TENANT = bindparam("of_tenant", type_=String())
_JOB_IDS = bindparam("job_ids", type_=Uuid(), expanding=True)

BLOCKED_BY_LIMIT = and_(JobRow.status == JobStatus.BLOCKED, JobRow.blocked_by == BlockedBy.LIMIT)
"""A job that stands in the line of a limit."""
IN_LINE = and_(BLOCKED_BY_LIMIT, JobRow.blocked_on == LIMIT)
IS_OVERRIDDEN = and_(
    LimitRow.override.is_not(None), or_(LimitRow.override_until.is_(None), LimitRow.override_until > now())
)
"""A limit whose slots an operator has set, until a time that has not come."""
SLOTS = case((IS_OVERRIDDEN, LimitRow.override), else_=LimitRow.declared)
"""The slots of a limit that are in force."""
# Written as the index of these rows has it: SQLite takes that for no other text.
HAS_ROOM = and_(text("agentq_limits.is_awaited"), LimitRow.used < SLOTS)
"""A limit with a free slot, which jobs may wait for."""
SPENT = and_(JobRow.held > _NONE, JobRow.status.not_in(sorted(HOLDING)))
"""A job that neither runs nor is about to, and has yet to give back its slots."""

_upserts = {dialect.dialect.name: dialect for dialect in (postgresql, sqlite)}
_DECLARE = {
    name: dialect.insert(LimitRow).on_conflict_do_nothing(index_elements=["name"])
    for name, dialect in _upserts.items()
}
_DECLARED_OTHERWISE = (
    select(LimitRow.name, LimitRow.declared)
    .where(
        or_(LimitRow.name == LIMIT, func.substr(LimitRow.name, 1, func.length(_PREFIX)) == _PREFIX),
        or_(LimitRow.declared != _SLOTS, LimitRow.name.in_(_NAMES)),
    )
    .order_by(LimitRow.name)
    .with_for_update(key_share=True)
)
_REDECLARE = update(LimitRow).where(LimitRow.name == LIMIT).values(declared=_SLOTS)
_BY_CODE = "the code of a worker that started declares this number"
_BY_FILE = "the limits file of a worker that started has this number"
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
_SERVED = _turn_of_tenant.values(served=_served, is_idle=is_idle_after(_TENANT, _others_wait))
_CHARGE = _turn_of_tenant.values(served=_served)

_HAS_FREE = select(LimitRow.name).where(LimitRow.name == LIMIT, LimitRow.used < SLOTS)
_NEXT_TENANTS = (
    select(TurnRow.tenant)
    .where(TurnRow.name == LIMIT, WAITS)
    .order_by(TurnRow.served, TurnRow.tenant)
    .limit(literal_column(str(MOST_TENANTS)))
)
_FIRST_IN_LINE = (
    select(JobRow.id, JobRow.tenant, JobRow.limits, JobRow.held, JobRow.refused)
    .where(IN_LINE, JobRow.tenant == _TENANT)
    .order_by(JobRow.rank_at, JobRow.id)
    .limit(_ONE)
    .with_for_update(skip_locked=True, key_share=True)
)
_LOCK = (
    select(LimitRow.name, (SLOTS - LimitRow.used).label("room"), LimitRow.kept_for)
    .where(LimitRow.name.in_(_NAMES))
    .order_by(LimitRow.name)
    .with_for_update(key_share=True)
)
_STILL_IN_LINE = and_(
    JobRow.id == JOB_ID,
    # Not "=": PostgreSQL would then take the index of the lines, and read the whole line, not the key.
    JobRow.status.is_not_distinct_from(JobStatus.BLOCKED),
    JobRow.blocked_on == LIMIT,
)
_ADMIT = (
    update(JobRow)
    .where(_STILL_IN_LINE)
    .values(ADMITTED | {"held": bindparam("now_held", type_=Integer())})
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
_TAKE = (
    update(LimitRow)
    .where(LimitRow.name.in_(_NAMES))
    .values(used=LimitRow.used + 1, kept_for=func.coalesce(_keeper, LimitRow.kept_for))
)
_KEEP_NO_LONGER = (
    update(LimitRow).where(LimitRow.kept_for == _keeper, LimitRow.name.in_(_NAMES)).values(kept_for=null())
)

# The number is read in the snapshot in which nobody waits, and compared with the newest one: whoever began to wait
# since has raised it.
_seen = aliased(LimitRow)
_AWAIT_NO_LONGER = (
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
    select(JobRow.id, JobRow.limits, JobRow.held)
    .where(SPENT)
    .order_by(JobRow.id)
    .limit(bindparam("most"))
    .with_for_update(skip_locked=True, key_share=True)
)
_SPENT_ONE = _SPENT_JOBS.where(JobRow.id == JOB_ID)
_GIVE_BACK = update(JobRow).where(JobRow.id.in_(_JOB_IDS)).values(held=0)
_FREE = (
    update(LimitRow)
    .where(LimitRow.name == LIMIT)
    .values(
        used=LimitRow.used - bindparam("freed", type_=Integer()),
        kept_for=case((LimitRow.kept_for.in_(_JOB_IDS), null()), else_=LimitRow.kept_for),
    )
    .returning(LimitRow.is_awaited)
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


def redeclare(tx: Transaction, limit: str, slots: int, in_file: Mapping[str, int]) -> None:
    """Let a limit, with each of its keys, have the slots that code declares now, and note the change.

    Numbers *in_file*, of the limit or of one key, hold in place of the code's.
    """
    of_all, prefix = in_file.get(limit, slots), None if ":" in limit else f"{limit}:"
    values = {"limit": limit, "prefix": prefix, "slots": of_all, "limits": sorted(in_file)}
    for row in tx.connection.execute(_DECLARED_OTHERWISE, values).all():
        declared = in_file.get(row.name, of_all)
        if declared != row.declared:
            tx.connection.execute(_REDECLARE, {"limit": row.name, "slots": declared})
            why = _BY_FILE if in_file.keys() & {row.name, limit} else _BY_CODE
            change = {"id": new_id(), "name": row.name, "before": row.declared, "after": declared}
            tx.connection.execute(insert(LimitChangeRow), {**change, "actor": "agentq", "reason": why})


def declare(tx: Transaction, slots: Mapping[str, int]) -> None:
    """Write the limits that are not there yet, by name with the slots that code declares."""
    rows = [{"name": name, "declared": slots[name]} for name in sorted(slots)]
    if rows:
        tx.connection.execute(_DECLARE[tx.connection.dialect.name], rows)


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
    tx.connection.execute(_AWAIT_NO_LONGER, {"limit": limit})


def has_free(tx: Transaction, limit: str) -> bool:
    """Say whether a slot of *limit* is free."""
    return tx.connection.scalar(_HAS_FREE, {"limit": limit}) is not None


def lock_first_in_line(tx: Transaction, limit: str) -> AnyRow | None:
    """Lock the job whose turn it is in the line of *limit*; None where there is none, or others have locked it."""
    for tenant in tx.connection.scalars(_NEXT_TENANTS, {"limit": limit}).all():
        row = tx.connection.execute(_FIRST_IN_LINE, {"limit": limit, "of_tenant": tenant}).one_or_none()
        if row is not None:
            return row
    return None


def lock_limits(tx: Transaction, limits: Collection[str]) -> dict[str, AnyRow]:
    """Lock limits in the order of their names; for each, its ``room`` in slots, and the job it is ``kept_for``."""
    return {row.name: row for row in tx.connection.execute(_LOCK, {"limits": list(limits)})}


def admit(tx: Transaction, limit: str, job: AnyRow, taken: Sequence[str]) -> AnyRow | None:
    """Blocked to queued for the *job* in the line of *limit*, with a slot of each of *taken*; locked, all of them.

    Returns the columns of DISPATCH.
    """
    values = {"limit": limit, "job_id": job.id, "now_held": job.held + len(taken)}
    admitted = tx.connection.execute(_ADMIT, values).one_or_none()
    if admitted is not None:
        tx.connection.execute(_TAKE, {"limits": list(taken), "keeper": None})
        if job.held:
            tx.connection.execute(_KEEP_NO_LONGER, {"limits": job.limits[: job.held], "keeper": job.id})
        tx.connection.execute(_SERVED, values | {"of_tenant": job.tenant})
    return admitted


def refuse(tx: Transaction, limit: str, job: AnyRow, full: str, kept: Sequence[str]) -> None:
    """Move the *job* from the line of *limit* into that of a *full* one; it takes a slot of each of *kept*."""
    values = {"limit": limit, "job_id": job.id, "now_held": job.held + len(kept), "refused_by": full}
    tx.connection.execute(_REFUSE, values)
    if kept:
        tx.connection.execute(_TAKE, {"limits": list(kept), "keeper": job.id})
    await_slot(tx, full, job.tenant)


def give_back(tx: Transaction, job_id: uuid.UUID | None, most: int) -> list[str]:
    """Take their slots from jobs that are SPENT, of this id or all; returns the limits that are awaited.

    Up to *most* jobs; those that others are at are left to them.
    """
    if job_id is None:
        spent = tx.connection.execute(_SPENT_JOBS, {"most": most}).all()
    else:
        spent = tx.connection.execute(_SPENT_ONE, {"most": most, "job_id": job_id}).all()
    if not spent:
        return []
    ids = [row.id for row in spent]
    tx.connection.execute(_GIVE_BACK, {"job_ids": ids})
    freed = Counter(name for row in spent for name in row.limits[: row.held])
    awaited = []
    for name in sorted(freed):
        if free(tx, name, ids, freed[name]):
            awaited.append(name)
    return awaited


def free(tx: Transaction, limit: str, jobs: Sequence[uuid.UUID], freed: int = 1) -> bool:
    """Free slots of *limit* that these *jobs* held; says whether it is awaited."""
    return bool(tx.connection.scalar(_FREE, {"limit": limit, "freed": freed, "job_ids": list(jobs)}))


def missing(connection: Connection) -> list[str]:
    """Return the limits that jobs wait for and that are not there: each was deleted while a start named it."""
    return list(connection.scalars(_MISSING))


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
