"""Jobs as people ask for them: with what they wait for, the people who gave their results, and their attempts."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, and_, case, func, or_, select

from agentq.ledger import actions, knowledge
from agentq.ledger.db.types import AnyRow
from agentq.ledger.knowledge import NO_WORKERS, Live
from agentq.ledger.models import ActionRow, AttemptRow, DeadLetterRow, JobRow, WorkflowRow
from agentq.ledger.moves.limits import BLOCKED_BY_LIMIT
from agentq.ledger.moves.postponed import BLOCKED_BY_BACKLOG, in_line_of_cap
from agentq.ledger.queries.failures import failed_before
from agentq.ledger.queries.limits import Lines, lines_of
from agentq.ledger.queries.postponed import Awaited, awaited_by
from agentq.ledger.queries.selection import Selection, Wanted
from agentq.states import (
    CAPS,
    FAN_INS,
    JOB_AHEAD,
    JOB_MOVING,
    JOB_OPEN,
    OTHER_PARAMETERS,
    DeadLetterStatus,
    JobStatus,
)

_COLUMNS = {
    "status": JobRow.status,
    "step": JobRow.step,
    "tenant": JobRow.tenant,
    "workflow": JobRow.workflow_id,
    "queue": JobRow.queue,
    "category": JobRow.error_category,
    "waiting_for": JobRow.blocked_on,
}
_IS_NO_FAN_IN = JobRow.kind.not_in(sorted(FAN_INS))
_Awaited = tuple[
    Live, Mapping[uuid.UUID, str | None], Mapping[uuid.UUID, Sequence[AnyRow]], Lines, Mapping[uuid.UUID, Awaited]
]
_CAPS = tuple(f"{cap}:" for cap in CAPS)
_FIRST = (JobStatus.RUNNING, JobStatus.QUEUED, JobStatus.BLOCKED, JobStatus.SCHEDULED, JobStatus.FAILED)
"""The statuses of jobs that others wait for."""
_is_undecided = (
    select(DeadLetterRow.id)
    .where(DeadLetterRow.job_id == JobRow.id, DeadLetterRow.status == DeadLetterStatus.OPEN)
    .exists()
)
_UNFINISHED = or_(JobRow.status.in_(sorted(JOB_OPEN)), _is_undecided)
_ALL = Selection(JobRow, select(JobRow.__table__))
_NO_FAN_INS = _ALL.where(_IS_NO_FAN_IN)


@dataclass(frozen=True, slots=True)
class FoundJobs:
    """Rows of jobs, with the rows of other tables that a person needs beside them."""

    rows: Sequence[AnyRow]
    by_hand: Mapping[uuid.UUID, AnyRow]
    """The actions of the people who gave jobs their results, by job."""
    live: Live
    """The live workers, where one of the jobs waits for a worker."""
    terms: Mapping[uuid.UUID, str | None]
    """The terms of the workflows of which a job was left for its arguments, by workflow."""
    failed: Mapping[uuid.UUID, Sequence[AnyRow]]
    """The failed jobs directly before each job that waits."""
    lines: Lines
    """The lines of limits that jobs stand in."""
    caps: Mapping[uuid.UUID, Awaited]
    """The caps that jobs of postponed workflows wait for, by job."""
    members: Mapping[uuid.UUID, int] = field(default_factory=dict)
    """The number of members of each fan-in that waits; empty unless attempts were read too."""
    attempts: Mapping[uuid.UUID, Sequence[AnyRow]] = field(default_factory=dict)
    """The finished attempts of each job that has some, if they were read."""


def matching(wanted: Wanted) -> Selection:
    """Return the jobs that a filter wants; fan-ins are left out."""
    line = wanted.get("waiting_for")
    if line is None:
        return _NO_FAN_INS.matching(_COLUMNS, wanted)
    if line.startswith(_CAPS):
        others = {name: value for name, value in wanted.items() if name != "waiting_for"}
        in_line = select(WorkflowRow.id).where(in_line_of_cap(line))
        return _NO_FAN_INS.matching(_COLUMNS, others).where(BLOCKED_BY_BACKLOG, JobRow.workflow_id.in_(in_line))
    return _NO_FAN_INS.matching(_COLUMNS, wanted).where(BLOCKED_BY_LIMIT)


def open_(wanted: Wanted) -> Selection:
    """Return those of them that have not ended."""
    return matching(wanted).where(JobRow.status.in_(sorted(JOB_OPEN)))


def movable(wanted: Wanted, queue: str) -> Selection:
    """Return those of them that can be moved to this queue from another one."""
    return matching(wanted).where(JobRow.status.in_(sorted(JOB_AHEAD)), JobRow.queue != queue)


def moving(workflow_id: uuid.UUID) -> Selection:
    """Return the jobs of a workflow that run, or will without another one; fan-ins are left out."""
    return _NO_FAN_INS.where(JobRow.workflow_id == workflow_id, JobRow.status.in_(sorted(JOB_MOVING)))


def running_on(worker_id: uuid.UUID) -> Selection:
    """Return the jobs that a worker runs."""
    return _ALL.where(JobRow.status == JobStatus.RUNNING, JobRow.worker_id == worker_id)


def with_ids(job_ids: Collection[uuid.UUID]) -> Selection:
    """Select the jobs of these ids."""
    return _ALL.where(JobRow.id.in_(job_ids))


def find(connection: Connection, jobs: Selection, limit: int, *, oldest_first: bool = False) -> FoundJobs:
    """Return up to *limit* jobs of a selection, newest first or oldest first, without their attempts."""
    return _with_waits(connection, jobs.rows(connection, limit, oldest_first=oldest_first))


def first(connection: Connection, jobs: Selection, most: int) -> tuple[FoundJobs, int]:
    """Return up to *most* jobs of a selection, oldest first, without their attempts, and how many there are."""
    rows, fit = jobs.first(connection, most)
    return _with_waits(connection, rows), fit


def summary(connection: Connection, job_id: uuid.UUID) -> FoundJobs:
    """Return the job of this id, if there is one, without its attempts."""
    return _with_waits(connection, connection.execute(_ALL.query.where(JobRow.id == job_id)).all())


def get(connection: Connection, job_id: uuid.UUID) -> FoundJobs:
    """Return the job of this id, if there is one."""
    return _with_attempts(connection, JobRow.id == job_id)


def of_workflow(connection: Connection, workflow_id: uuid.UUID) -> FoundJobs:
    """Return all jobs of a workflow, oldest first."""
    return _with_attempts(connection, JobRow.workflow_id == workflow_id)


def unfinished(connection: Connection, workflow_id: uuid.UUID, limit: int) -> FoundJobs:
    """Return up to *limit* jobs of a workflow that are open or need a decision: those first that others wait for.

    Fan-ins are left out.
    """
    rank = case(*((JobRow.status == status, place) for place, status in enumerate(_FIRST)), else_=len(_FIRST))
    query = _ALL.query.where(JobRow.workflow_id == workflow_id, _IS_NO_FAN_IN, _UNFINISHED)
    return _with_waits(connection, connection.execute(query.order_by(rank, JobRow.id).limit(limit)).all())


def unfinished_job(connection: Connection, job_id: uuid.UUID) -> FoundJobs:
    """Return the job of this id, if it is open or needs a decision."""
    return _with_attempts(connection, and_(JobRow.id == job_id, _UNFINISHED))


def progress(connection: Connection, workflow_id: uuid.UUID) -> Sequence[AnyRow]:
    """Count a workflow's jobs by step and status, and those that were dispatched again; fan-ins are left out."""
    query = (
        select(JobRow.step, JobRow.status, func.count(), func.count().filter(JobRow.dispatches > 0))
        .where(JobRow.workflow_id == workflow_id, _IS_NO_FAN_IN)
        .group_by(JobRow.step, JobRow.status)
    )
    return connection.execute(query).all()


def workflow_of(connection: Connection, job_id: uuid.UUID) -> uuid.UUID | None:
    """Return the workflow of a job; None where there is no such job."""
    return connection.scalar(select(JobRow.workflow_id).where(JobRow.id == job_id))


def status_of(connection: Connection, job_id: uuid.UUID) -> str | None:
    """Return the status of a job; None where there is no such job."""
    return connection.scalar(select(JobRow.status).where(JobRow.id == job_id))


def kind_of(connection: Connection, job_id: uuid.UUID) -> str | None:
    """Return the kind of a job; None where there is no such job."""
    return connection.scalar(select(JobRow.kind).where(JobRow.id == job_id))


def call_of(connection: Connection, job_id: uuid.UUID) -> AnyRow:
    """Return what a job calls: id, kind, step, arguments, after_id and immutable."""
    columns = (JobRow.id, JobRow.kind, JobRow.step, JobRow.arguments, JobRow.after_id, JobRow.immutable)
    return connection.execute(select(*columns).where(JobRow.id == job_id)).one()


def _with_waits(connection: Connection, rows: Sequence[AnyRow]) -> FoundJobs:
    return FoundJobs(rows, _by_hand(connection, rows), *_awaited(connection, rows))


def _with_attempts(connection: Connection, wanted: Any) -> FoundJobs:
    attempts: dict[uuid.UUID, list[AnyRow]] = defaultdict(list)
    history = (
        select(AttemptRow.__table__)
        .join(JobRow, JobRow.id == AttemptRow.job_id)
        .where(wanted)
        .order_by(AttemptRow.job_id, AttemptRow.number)
    )
    for row in connection.execute(history):
        attempts[row.job_id].append(row)
    rows = connection.execute(_ALL.query.where(wanted).order_by(JobRow.id)).all()
    by_hand, members = _by_hand(connection, rows), _members(connection, rows)
    return FoundJobs(rows, by_hand, *_awaited(connection, rows), members, attempts)


def _by_hand(connection: Connection, rows: Sequence[AnyRow]) -> dict[uuid.UUID, AnyRow]:
    """The actions that gave jobs their results, by job; one statement for all rows."""
    succeeded = [row for row in rows if row.status == JobStatus.SUCCEEDED]
    if not succeeded:
        return {}
    resolved = select(ActionRow.__table__).where(
        ActionRow.workflow_id.in_({row.workflow_id for row in succeeded}),
        ActionRow.job_id.in_({row.id for row in succeeded}),
        ActionRow.action == actions.RESOLVE,
    )
    return {row.job_id: row for row in connection.execute(resolved)}


def _members(connection: Connection, rows: Sequence[AnyRow]) -> dict[uuid.UUID, int]:
    """The number of members of those of these jobs that are fan-ins and wait."""
    waiting = [row.id for row in rows if row.kind in FAN_INS and row.status == JobStatus.WAITING]
    if not waiting:
        return {}
    members = select(JobRow.join_id, func.count().label("members")).where(JobRow.join_id.in_(waiting))
    return {row.join_id: row.members for row in connection.execute(members.group_by(JobRow.join_id))}


def _awaited(connection: Connection, rows: Sequence[AnyRow]) -> _Awaited:
    """Live workers, terms of workflows, failed jobs, lines of limits; asks nothing that no job waits for."""
    left = {row.workflow_id for row in rows if _is_left_for_arguments(row)}
    is_asked = left or any(row.status == JobStatus.QUEUED for row in rows)
    query = select(WorkflowRow.id, WorkflowRow.terms).where(WorkflowRow.id.in_(left))
    terms = {row.id: row.terms for row in connection.execute(query)} if left else {}
    live = knowledge.live(connection) if is_asked else NO_WORKERS
    failed = failed_before(connection, rows)
    return live, terms, failed, lines_of(connection, rows), awaited_by(connection, rows)


def _is_left_for_arguments(row: AnyRow) -> bool:
    return row.error_class == OTHER_PARAMETERS and row.status in JOB_AHEAD
