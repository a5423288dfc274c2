"""The audit: read a ledger and list what must never be there. Each rule is one query that should find nothing."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Connection, and_, func, literal, or_, select
from sqlalchemy.orm import aliased
from sqlalchemy.sql import Select

from agentq.ledger.models import AttemptRow, JobRow, WorkflowRow
from agentq.states import JOB_FINAL, VIRTUAL, AttemptOutcome, JobStatus, WorkflowStatus

Found = Select[uuid.UUID, str]

_before, _member, _join = aliased(JobRow), aliased(JobRow), aliased(JobRow)
_is_step = JobRow.kind.not_in(sorted(VIRTUAL))
_accepted = (AttemptOutcome.SUCCEEDED, AttemptOutcome.FAILED)


@dataclass(frozen=True, slots=True)
class Violation:
    """Something that must never be: the rule it breaks, the row, and what was found there."""

    rule: str
    row_id: uuid.UUID
    found: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.row_id} ({self.found})"


def audit(connection: Connection) -> list[Violation]:
    """Return every violation in the ledger; an empty list is what a sound one gives.

    It reads whole tables, so it is for checks and tests, not for a hot path.
    """
    return [
        Violation((rule.__doc__ or "").strip(), row_id, found)
        for rule in _RULES
        for row_id, found in connection.execute(rule())
    ]


def _two_outcomes() -> Found:
    """a job has two accepted outcomes"""
    return (
        select(AttemptRow.job_id, func.min(AttemptRow.outcome))
        .where(AttemptRow.outcome.in_(_accepted))
        .group_by(AttemptRow.job_id)
        .having(func.count() > 1)
    )


def _final_without_outcome() -> Found:
    """a job is done without the outcome of its last attempt in the history"""
    outcome = select(AttemptRow.job_id).where(AttemptRow.job_id == JobRow.id, AttemptRow.number == JobRow.attempt)
    done = (JobStatus.SUCCEEDED, JobStatus.FAILED)
    return select(JobRow.id, JobRow.status).where(JobRow.status.in_(done), _is_step, ~outcome.exists())


def _outcome_without_final() -> Found:
    """a job has an accepted success but is not succeeded"""
    return (
        select(JobRow.id, JobRow.status)
        .join(AttemptRow, AttemptRow.job_id == JobRow.id)
        .where(AttemptRow.outcome == AttemptOutcome.SUCCEEDED, JobRow.status != JobStatus.SUCCEEDED)
    )


def _attempt_after_end() -> Found:
    """an attempt came after the accepted outcome"""
    later = aliased(AttemptRow)
    return (
        select(AttemptRow.job_id, later.outcome)
        .join(later, and_(later.job_id == AttemptRow.job_id, later.number > AttemptRow.number))
        .where(AttemptRow.outcome == AttemptOutcome.SUCCEEDED)
    )


def _attempts_beyond_limit() -> Found:
    """a job had more attempts than allowed"""
    return select(JobRow.id, JobRow.status).where(JobRow.attempt > JobRow.max_attempts)


def _started_early() -> Found:
    """a job began before the job it waits for was done"""
    began = (JobStatus.QUEUED, JobStatus.SCHEDULED, JobStatus.RUNNING, JobStatus.SUCCEEDED, JobStatus.FAILED)
    return (
        select(JobRow.id, JobRow.status)
        .join(_before, _before.id == JobRow.after_id)
        .where(JobRow.status.in_(began), _before.status != JobStatus.SUCCEEDED)
    )


def _never_handed_over() -> Found:
    """a step waits although the job before it is done"""
    return (
        select(JobRow.id, JobRow.status)
        .join(_before, _before.id == JobRow.after_id)
        .where(JobRow.status == JobStatus.WAITING, _is_step, _before.status == JobStatus.SUCCEEDED)
    )


def _join_fired_early() -> Found:
    """a join is done although a member is not"""
    return (
        select(_join.id, _member.status)
        .join(_member, _member.join_id == _join.id)
        .where(_join.status == JobStatus.SUCCEEDED, _member.status != JobStatus.SUCCEEDED)
    )


def _join_miscounted() -> Found:
    """a join counts other than its members that are not done"""
    undone = (
        select(func.count())
        .where(_member.join_id == _join.id, _member.status != JobStatus.SUCCEEDED)
        .scalar_subquery()
    )
    has_members = select(_member.id).where(_member.join_id == _join.id).exists()
    return select(_join.id, _join.status).where(
        _join.status == JobStatus.WAITING, has_members, _join.remaining != undone
    )


def _join_never_fired() -> Found:
    """a join waits although all its members are done"""
    undone = select(_member.id).where(_member.join_id == _join.id, _member.status != JobStatus.SUCCEEDED)
    has_members = select(_member.id).where(_member.join_id == _join.id)
    return select(_join.id, _join.status).where(
        _join.status == JobStatus.WAITING, has_members.exists(), ~undone.exists()
    )


def _ended_wrongly() -> Found:
    """a workflow and its last job disagree about the end"""
    return (
        select(WorkflowRow.id, WorkflowRow.status)
        .join(JobRow, and_(JobRow.workflow_id == WorkflowRow.id, JobRow.is_last))
        .where(
            or_(
                and_(WorkflowRow.status == WorkflowStatus.SUCCEEDED, JobRow.status != JobStatus.SUCCEEDED),
                and_(WorkflowRow.status == WorkflowStatus.RUNNING, JobRow.status.in_(sorted(JOB_FINAL))),
            )
        )
    )


def _stuck() -> Found:
    """a workflow is running but nothing will ever move it"""
    moving = (JobStatus.QUEUED, JobStatus.SCHEDULED, JobStatus.RUNNING)
    movable = select(JobRow.id).where(JobRow.workflow_id == WorkflowRow.id, JobRow.status.in_(moving))
    return select(WorkflowRow.id, literal("no job is queued, scheduled or running")).where(
        WorkflowRow.status == WorkflowStatus.RUNNING, ~movable.exists()
    )


_RULES: tuple[Callable[[], Found], ...] = (
    _two_outcomes,
    _final_without_outcome,
    _outcome_without_final,
    _attempt_after_end,
    _attempts_beyond_limit,
    _started_early,
    _never_handed_over,
    _join_fired_early,
    _join_miscounted,
    _join_never_fired,
    _ended_wrongly,
    _stuck,
)
