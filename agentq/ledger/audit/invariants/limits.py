"""Rules on limits: slots in use are those that jobs hold, and a blocked job stands in a line that moves."""

from __future__ import annotations

from sqlalchemy import String, Uuid, and_, cast, column, func, or_, select
from sqlalchemy.orm import aliased

from agentq.ledger.audit.invariants.common import (
    ASK_WORKERS,
    LONG_AGO,
    START_ANEW,
    Found,
    a_worker_lives,
    invariant,
)
from agentq.ledger.audit.invariants.elements import slots_held
from agentq.ledger.db.types import item_for, item_of
from agentq.ledger.models import AttemptRow, HoldRow, JobRow, LimitChangeRow, LimitRow, TurnRow
from agentq.ledger.moves.holds import SPENT_HOLD
from agentq.ledger.moves.limits import BLOCKED_BY_LIMIT, SPENT
from agentq.ledger.moves.meters import SLOTS
from agentq.states import BlockedBy, JobStatus

_held = slots_held().table_valued(column("name", String()), column("job_id", Uuid()), name="slots_held")
_holders = select(_held.c.name, func.count().label("jobs")).group_by(_held.c.name).subquery("holders")
_tokens = func.coalesce(item_for(JobRow.limits, _held.c.name, JobRow.tokens), 0)
_unpaid = (
    select(_held.c.name, func.count().label("jobs"), func.sum(_tokens).label("tokens"))
    .join(JobRow, JobRow.id == _held.c.job_id)
    .where(JobRow.is_outstanding)
    .group_by(_held.c.name)
    .subquery("unpaid")
)
_holder = aliased(JobRow)
_oldest_holder = (
    select(func.min(_holder.created_at))
    .select_from(_held)
    .join(_holder, _holder.id == _held.c.job_id)
    .where(_held.c.name == LimitRow.name)
    .scalar_subquery()
)
_next_limit = item_of(JobRow.limits, JobRow.held)
_ready_at = func.coalesce(JobRow.dispatched_at, JobRow.created_at)


@invariant("limit")
def slots_miscounted() -> Found:
    """a limit counts other slots as used than jobs and attempts hold"""
    jobs = func.coalesce(_holders.c.jobs, 0)
    return (
        select(LimitRow.name, cast(jobs, String()))
        .outerjoin(_holders, _holders.c.name == LimitRow.name)
        .where(LimitRow.used != jobs)
    )


@invariant("limit")
def outstanding_miscounted() -> Found:
    """a limit counts other jobs, or tokens, as taken and not paid than there are"""
    jobs, tokens = func.coalesce(_unpaid.c.jobs, 0), func.coalesce(_unpaid.c.tokens, 0)
    return (
        select(LimitRow.name, cast(jobs, String()))
        .outerjoin(_unpaid, _unpaid.c.name == LimitRow.name)
        .where(or_(LimitRow.outstanding != jobs, LimitRow.outstanding_tokens != tokens))
    )


@invariant("job")
def runs_unpaid() -> Found:
    """a job runs though its start was not paid"""
    return select(JobRow.id, JobRow.step).where(JobRow.status == JobStatus.RUNNING, JobRow.is_outstanding)


@invariant("limit")
def over_its_slots() -> Found:
    """more jobs hold a slot of a limit than it has had since the first of them was started"""
    allowed = select(LimitChangeRow.id).where(
        LimitChangeRow.name == LimitRow.name,
        LimitChangeRow.created_at >= _oldest_holder,
        or_(LimitChangeRow.before >= LimitRow.used, LimitChangeRow.after >= LimitRow.used),
    )
    was_overridden = and_(
        LimitRow.override >= LimitRow.used,
        or_(LimitRow.override_until.is_(None), LimitRow.override_until >= _oldest_holder),
    )
    return select(LimitRow.name, cast(LimitRow.used, String())).where(
        LimitRow.used > SLOTS,
        or_(was_overridden.is_(None), ~was_overridden),
        ~allowed.exists(),
    )


@invariant("job")
def runs_without_slot() -> Found:
    """a job is queued or running without a slot of one of its limits"""
    return select(JobRow.id, _next_limit).where(
        JobRow.status.in_([JobStatus.QUEUED, JobStatus.RUNNING]), _next_limit.is_not(None)
    )


@invariant("job", START_ANEW)
def blocked_by_nothing() -> Found:
    """a job is blocked, but by nothing that can let it go on"""
    its_limit = select(LimitRow.name).where(LimitRow.name == JobRow.blocked_on)
    is_missing = and_(~its_limit.exists(), _ready_at < LONG_AGO, a_worker_lives)  # else one enters it again
    return select(JobRow.id, JobRow.step).where(
        JobRow.status == JobStatus.BLOCKED,
        or_(JobRow.blocked_by.is_(None), and_(JobRow.blocked_by == BlockedBy.LIMIT, is_missing)),
    )


@invariant("job", ASK_WORKERS)
def never_entered() -> Found:
    """a job became blocked long ago, and no living worker let its line be awaited"""
    awaited = select(LimitRow.name).where(LimitRow.name == JobRow.blocked_on, LimitRow.is_awaited)
    turn = select(TurnRow.name).where(
        TurnRow.name == JobRow.blocked_on, TurnRow.tenant == JobRow.tenant, ~TurnRow.is_idle
    )
    return select(JobRow.id, JobRow.step).where(
        BLOCKED_BY_LIMIT, _ready_at < LONG_AGO, or_(~awaited.exists(), ~turn.exists()), a_worker_lives
    )


@invariant("job", ASK_WORKERS)
def never_given_back() -> Found:
    """a job that ended or waits for its time long ago holds slots, and no living worker gave them back"""
    last = select(AttemptRow.finished_at).where(
        AttemptRow.job_id == JobRow.id, AttemptRow.number == JobRow.attempt
    )
    ended_at = func.coalesce(JobRow.finished_at, last.scalar_subquery(), _ready_at)
    return select(JobRow.id, JobRow.step).where(SPENT, ended_at < LONG_AGO, a_worker_lives)


@invariant("job", ASK_WORKERS)
def hold_never_freed() -> Found:
    """an attempt was over long ago, and no living worker freed the slots that it took or kept"""
    ended = select(AttemptRow.finished_at).where(
        AttemptRow.job_id == HoldRow.job_id, AttemptRow.number == HoldRow.attempt
    )
    free_at = func.coalesce(HoldRow.until, ended.scalar_subquery(), HoldRow.created_at)
    return select(HoldRow.job_id, HoldRow.name).where(SPENT_HOLD, free_at < LONG_AGO, a_worker_lives)


@invariant("job")
def hold_of_no_attempt() -> Found:
    """a slot is held for an attempt that its job never had"""
    return (
        select(HoldRow.job_id, HoldRow.name)
        .join(JobRow, JobRow.id == HoldRow.job_id)
        .where(or_(HoldRow.attempt < 1, HoldRow.attempt > JobRow.attempt))
    )


@invariant("limit")
def kept_for_nobody() -> Found:
    """a limit keeps a slot for a job that does not wait for another one"""
    keeper = (
        select(JobRow.id)
        .join(_held, _held.c.job_id == JobRow.id)
        .where(
            JobRow.id == LimitRow.kept_for,
            _held.c.name == LimitRow.name,
            or_(JobRow.status == JobStatus.BLOCKED, SPENT),
        )
    )
    return select(LimitRow.name, cast(LimitRow.kept_for, String())).where(
        LimitRow.kept_for.is_not(None), ~keeper.exists()
    )


INVARIANTS = (
    slots_miscounted,
    outstanding_miscounted,
    runs_unpaid,
    over_its_slots,
    runs_without_slot,
    blocked_by_nothing,
    never_entered,
    never_given_back,
    hold_never_freed,
    hold_of_no_attempt,
    kept_for_nobody,
)
