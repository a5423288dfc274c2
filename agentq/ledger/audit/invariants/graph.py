"""Rules on what waits for what: nothing begins early, twice or never, and every join counts right."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, String, and_, cast, func, literal, or_, select
from sqlalchemy.orm import aliased

from agentq.ledger.audit.invariants.common import OF_POSTPONED, START_ANEW, Found, invariant, is_runnable
from agentq.ledger.audit.invariants.elements import length
from agentq.ledger.models import AttemptRow, JobRow
from agentq.ledger.moves import LACKS_MEMBERS
from agentq.states import FAN_INS, JOB_MOVING, JOB_OPEN, JobKind, JobStatus, OnFailure

_before, _member, _lost, _fan_in = aliased(JobRow), aliased(JobRow), aliased(JobRow), aliased(JobRow)
_is_fan_in = JobRow.kind.in_(sorted(FAN_INS))
_members = select(_member.id).where(_member.join_id == JobRow.id)
_is_undone = and_(_member.status != JobStatus.SUCCEEDED, _member.is_missing.is_(False))
_undone = _members.where(_is_undone)
_does_without = and_(
    JobRow.immutable, _before.status == JobStatus.FAILED, _before.on_failure == OnFailure.CONTINUE
)
_BEGUN = sorted(JOB_MOVING | {JobStatus.SUCCEEDED, JobStatus.FAILED})


@invariant("job")
def refers_to_nothing() -> Found:
    """a job waits for, or counts into, a job that is not in its workflow"""

    def exists(wanted: Any) -> ColumnElement[bool]:
        return select(_before.id).where(_before.id == wanted, _before.workflow_id == JobRow.workflow_id).exists()

    return select(JobRow.id, JobRow.status).where(
        or_(
            and_(JobRow.after_id.is_not(None), ~exists(JobRow.after_id)),
            and_(JobRow.join_id.is_not(None), ~exists(JobRow.join_id)),
        )
    )


@invariant("job")
def began_early() -> Found:
    """a job began although the job before it is not done"""
    return (
        select(JobRow.id, JobRow.status)
        .join(_before, _before.id == JobRow.after_id)
        .where(JobRow.status.in_(_BEGUN), _before.status != JobStatus.SUCCEEDED, ~_does_without)
    )


@invariant("job")
def began_before_step_ended() -> Found:
    """a job began before the step before it had ended"""
    return _first_attempts().join(_before, _before.id == JobRow.after_id).where(_ended_after_start(_before))


@invariant("job")
def began_before_member_ended() -> Found:
    """a job began before a member of the join before it had ended"""
    return _first_attempts().join(_member, _member.join_id == JobRow.after_id).where(_ended_after_start(_member))


@invariant("job", START_ANEW)
def never_handed_over() -> Found:
    """a job waits although the job before it is done, or failed and is done without"""
    is_over = or_(
        _before.status == JobStatus.SUCCEEDED, and_(_does_without, is_runnable, _before.part_id.is_(None))
    )
    return (
        select(JobRow.id, JobRow.status)
        .join(_before, _before.id == JobRow.after_id)
        .where(JobRow.status == JobStatus.WAITING, is_over, or_(is_runnable, ~_members.exists()))
    )


@invariant("job", START_ANEW)
def waits_for_nothing() -> Found:
    """a job waits for nothing"""
    return select(JobRow.id, JobRow.kind).where(
        JobRow.status == JobStatus.WAITING, JobRow.after_id.is_(None), ~_members.exists()
    )


@invariant("job", START_ANEW)
def join_at_work() -> Found:
    """a join or each is scheduled, queued or running, but no worker runs it"""
    return select(JobRow.id, JobRow.status).where(JobRow.status.in_(sorted(JOB_MOVING)), _is_fan_in)


@invariant("job")
def join_fired_early() -> Found:
    """a join is done although a member is not"""
    return select(JobRow.id, JobRow.status).where(
        JobRow.status == JobStatus.SUCCEEDED, _is_fan_in, _undone.exists()
    )


@invariant("job", START_ANEW)
def join_never_fired() -> Found:
    """a join waits although all its members are done or missing, so nothing will ever move it"""
    return select(JobRow.id, JobRow.status).where(
        JobRow.status == JobStatus.WAITING, _is_fan_in, _members.exists(), ~_undone.exists(), ~OF_POSTPONED
    )


@invariant("job", START_ANEW)
def join_miscounted() -> Found:
    """a join counts other than its members that are not done"""
    members = select(func.count()).where(_member.join_id == JobRow.id)
    undone = members.where(_is_undone).scalar_subquery()
    missing = members.where(_member.is_missing).scalar_subquery()
    return select(JobRow.id, _counted()).where(
        JobRow.status == JobStatus.WAITING,
        _is_fan_in,
        or_(and_(_undone.exists(), JobRow.remaining != undone), JobRow.missing != missing),
    )


@invariant("job", START_ANEW)
def lacks_other_members() -> Found:
    """a fan-in failed for missing members, but its count differs from its members that are missing"""
    missing = select(func.count()).where(_member.join_id == JobRow.id, _member.is_missing).scalar_subquery()
    found = literal("missing ", String()) + cast(JobRow.missing, String())
    # A replay would wait for the others for ever.
    return select(JobRow.id, found).where(
        LACKS_MEMBERS, or_(JobRow.missing == 0, JobRow.missing != missing, JobRow.remaining != 0, _undone.exists())
    )


@invariant("job", "its result is not used: cancel it with agentq jobs cancel")
def open_in_missing_member() -> Found:
    """a job is not done although its fan-in has gone on without its member, or was cancelled"""
    return (
        select(JobRow.id, JobRow.status)
        .join(_lost, _lost.id == JobRow.part_id)
        .join(_fan_in, _fan_in.id == _lost.join_id)
        .where(
            JobRow.status.in_(sorted(JOB_OPEN)),
            _lost.is_missing,
            _fan_in.status.in_([JobStatus.SUCCEEDED, JobStatus.CANCELLED]),
        )
    )


@invariant("job")
def counts_after_end() -> Found:
    """a job that waits for nothing any more still counts, or a waiting step counts wrong"""
    return select(JobRow.id, _counted()).where(
        or_(
            and_(JobRow.status.in_(sorted(JOB_MOVING | {JobStatus.SUCCEEDED})), JobRow.remaining != 0),
            and_(JobRow.status == JobStatus.WAITING, is_runnable, JobRow.remaining != 1),
        )
    )


@invariant("job")
def members_misplaced() -> Found:
    """the members of a join do not stand at the places 0, 1, 2, …"""
    places = (
        select(JobRow.join_id.label("id"))
        .where(JobRow.join_id.is_not(None))
        .group_by(JobRow.join_id)
        .having(
            or_(
                func.count(JobRow.position) != func.count(),
                func.min(JobRow.position) != 0,
                func.max(JobRow.position) != func.count() - 1,
                func.count(JobRow.position.distinct()) != func.count(),
            )
        )
        .subquery()
    )
    return select(JobRow.id, JobRow.kind).join(places, places.c.id == JobRow.id)


@invariant("job")
def expanded_wrongly() -> Found:
    """an each that is done has other than one branch per item of the list before it"""
    branches = select(func.count()).where(_member.join_id == JobRow.id).scalar_subquery()
    return (
        select(JobRow.id, JobRow.kind)
        .join(_before, _before.id == JobRow.after_id)
        .where(
            JobRow.kind == JobKind.EACH,
            JobRow.status == JobStatus.SUCCEEDED,
            _before.kind.not_in(sorted(FAN_INS)),
            branches != length(_before.result),
        )
    )


def _first_attempts() -> Found:
    """Jobs with their first attempt, in the history or under way."""
    return (
        select(JobRow.id, JobRow.status)
        .outerjoin(AttemptRow, and_(AttemptRow.job_id == JobRow.id, AttemptRow.number == 1))
        .where(JobRow.attempt > 0)
    )


def _ended_after_start(job: type[JobRow]) -> ColumnElement[bool]:
    return func.coalesce(AttemptRow.started_at, JobRow.started_at) < job.finished_at


def _counted() -> ColumnElement[str]:
    return literal("remaining ", String()) + cast(JobRow.remaining, String())


INVARIANTS = (
    refers_to_nothing,
    began_early,
    began_before_step_ended,
    began_before_member_ended,
    never_handed_over,
    waits_for_nothing,
    join_at_work,
    join_fired_early,
    join_never_fired,
    join_miscounted,
    lacks_other_members,
    open_in_missing_member,
    counts_after_end,
    members_misplaced,
    expanded_wrongly,
)
