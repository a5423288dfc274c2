"""Rules on workflows: they end when their jobs do, and until then something moves them."""

from __future__ import annotations

from sqlalchemy import and_, func, literal, or_, select
from sqlalchemy.orm import aliased

from agentq.ledger.audit.invariants.common import (
    ASK_WORKERS,
    CLOCK,
    LONG_AGO,
    Found,
    a_worker_lives,
    invariant,
)
from agentq.ledger.db.types import later
from agentq.ledger.models import JobRow, WorkflowRow
from agentq.states import JOB_FINAL, JOB_MOVING, JOB_OPEN, JOB_WITHOUT_RESULT, JobStatus, OnFailure, WorkflowStatus

_START_ANEW = "start it again under another key, and cancel this one"
_of_workflow = JobRow.workflow_id == WorkflowRow.id
_its_member = aliased(JobRow)
_may_be_missing = or_(
    select(_its_member.id).where(_its_member.id == JobRow.part_id, _its_member.is_missing).exists(),
    # A job that leads to a member is covered by that member's own mark.
    and_(JobRow.on_failure == OnFailure.CONTINUE, JobRow.part_id.is_(None), JobRow.status == JobStatus.FAILED),
)
_jobs = select(WorkflowRow.id, JobRow.status).join(JobRow, _of_workflow)


@invariant("workflow")
def ended_wrongly() -> Found:
    """a workflow and its last job disagree about the end"""
    return _jobs.where(
        JobRow.is_last,
        or_(
            and_(WorkflowRow.status == WorkflowStatus.SUCCEEDED, JobRow.status != JobStatus.SUCCEEDED),
            and_(WorkflowRow.status == WorkflowStatus.RUNNING, JobRow.status.in_(sorted(JOB_FINAL))),
        ),
    )


@invariant("workflow")
def succeeded_unfinished() -> Found:
    """a workflow succeeded although one of its jobs did not, and was not in a member that it could do without"""
    return _jobs.where(
        WorkflowRow.status == WorkflowStatus.SUCCEEDED,
        ~JobRow.is_last,
        JobRow.status != JobStatus.SUCCEEDED,
        or_(JobRow.status.in_(sorted(JOB_OPEN)), ~_may_be_missing),
    )


@invariant("workflow")
def cancelled_unfinished() -> Found:
    """a workflow was cancelled but one of its jobs was not"""
    return _jobs.where(WorkflowRow.status == WorkflowStatus.CANCELLED, JobRow.status.in_(sorted(JOB_OPEN)))


@invariant("workflow", _START_ANEW)
def runs_after_loss() -> Found:
    """a workflow runs although one of its jobs failed or was cancelled, so what waits for that never moves"""
    lost = sorted(JOB_WITHOUT_RESULT)
    return _jobs.where(
        WorkflowRow.status == WorkflowStatus.RUNNING, ~JobRow.is_last, JobRow.status.in_(lost), ~_may_be_missing
    )


@invariant("workflow", "no replay makes it go on: start it again under another key")
def failed_without_cause() -> Found:
    """a workflow failed but the job that it names did not"""
    cause = select(JobRow.id).where(
        JobRow.id == WorkflowRow.failed_job_id, _of_workflow, JobRow.status == JobStatus.FAILED
    )
    return select(WorkflowRow.id, WorkflowRow.name).where(
        WorkflowRow.status == WorkflowStatus.FAILED, ~cause.exists()
    )


@invariant("workflow")
def moved_after_success() -> Found:
    """a job of a workflow began after that had succeeded"""
    return _jobs.where(
        WorkflowRow.status == WorkflowStatus.SUCCEEDED, JobRow.started_at > later(WorkflowRow.finished_at, CLOCK)
    )


@invariant("workflow", ASK_WORKERS)
def never_ended() -> Found:
    """a workflow was not done by its deadline long ago, and no living worker ended it"""
    return select(WorkflowRow.id, WorkflowRow.name).where(
        WorkflowRow.finished_at.is_(None), WorkflowRow.deadline_at < LONG_AGO, a_worker_lives
    )


@invariant("workflow", _START_ANEW)
def stuck() -> Found:
    """a workflow is running but nothing will ever move it"""
    movable = select(JobRow.id).where(_of_workflow, JobRow.status.in_(sorted(JOB_MOVING)))
    return select(WorkflowRow.id, literal("no job is queued, scheduled or running")).where(
        WorkflowRow.status == WorkflowStatus.RUNNING, WorkflowRow.postponed_on.is_(None), ~movable.exists()
    )


@invariant("workflow")
def without_last_job() -> Found:
    """a workflow has no last job, or more than one"""
    last = (
        select(JobRow.workflow_id, func.count().label("count"))
        .where(JobRow.is_last)
        .group_by(JobRow.workflow_id)
        .subquery()
    )
    return (
        select(WorkflowRow.id, WorkflowRow.name)
        .outerjoin(last, last.c.workflow_id == WorkflowRow.id)
        .where(func.coalesce(last.c.count, 0) != 1)
    )


@invariant("workflow")
def result_from_nowhere() -> Found:
    """the job whose result is the workflow's is not a job of it"""
    result = select(JobRow.id).where(JobRow.id == WorkflowRow.result_job_id, _of_workflow)
    return select(WorkflowRow.id, WorkflowRow.name).where(~result.exists())


@invariant("job")
def of_another_tenant() -> Found:
    """a job belongs to another tenant than its workflow"""
    return (
        select(JobRow.id, JobRow.tenant).join(WorkflowRow, _of_workflow).where(JobRow.tenant != WorkflowRow.tenant)
    )


INVARIANTS = (
    ended_wrongly,
    succeeded_unfinished,
    cancelled_unfinished,
    runs_after_loss,
    failed_without_cause,
    moved_after_success,
    never_ended,
    stuck,
    without_last_job,
    result_from_nowhere,
    of_another_tenant,
)
