"""Queues as the ledger knows them: how many jobs wait and run on each, and for how long the oldest waits."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, bindparam, func, literal, select

from agentq.ledger.db.leaps import distinct_by_index
from agentq.ledger.db.types import now
from agentq.ledger.knowledge import Need, parameters_at_start
from agentq.ledger.models import JobRow, WorkflowRow
from agentq.states import OTHER_PARAMETERS, JobStatus

MOST = 10_000
"""Jobs up to which a status is counted: of the queued ones in each queue, of all others in the whole ledger."""

_queues = distinct_by_index(JobRow.queue, JobRow.status == JobStatus.QUEUED)
_is_queued_here = (JobRow.status == JobStatus.QUEUED, JobRow.queue == _queues.c.queue)
_first = select(literal(1)).where(*_is_queued_here).limit(bindparam("most")).correlate(_queues).subquery()
_QUEUED = select(
    _queues.c.queue,
    select(func.count()).select_from(_first).correlate(_queues).scalar_subquery().label("jobs"),
    select(func.min(JobRow.dispatched_at)).where(*_is_queued_here).scalar_subquery().label("oldest"),
    now().label("read_at"),
).where(_queues.c.queue.is_not(None))


def _count(status: JobStatus, indexed: Any) -> Select[str, int]:
    """Count by queue, over the jobs that an index finds first."""
    first = select(JobRow.queue).where(JobRow.status == status).order_by(indexed).limit(bindparam("most"))
    jobs = first.subquery()
    return select(jobs.c.queue, func.count()).group_by(jobs.c.queue)


_SCHEDULED = _count(JobStatus.SCHEDULED, JobRow.due_at)
_RUNNING = _count(JobStatus.RUNNING, JobRow.worker_id)


def _by_step(status: JobStatus, indexed: Any) -> Select[str, str, str, int]:
    columns = (JobRow.queue, JobRow.kind, JobRow.step)
    first = select(*columns).where(JobRow.status == status).order_by(indexed).limit(bindparam("most")).subquery()
    counted = func.count().label("jobs")
    return select(first.c.queue, first.c.kind, first.c.step, counted).group_by(*first.c)


def _left(status: JobStatus, indexed: Any) -> Select[str, str, str, str | None, int]:
    columns = (JobRow.queue, JobRow.kind, JobRow.step, JobRow.workflow_id, JobRow.error_class)
    first = select(*columns).where(JobRow.status == status).order_by(indexed).limit(bindparam("most")).subquery()
    group = (first.c.queue, first.c.kind, first.c.step, WorkflowRow.terms)
    found = select(*group, func.count().label("jobs")).join(WorkflowRow, WorkflowRow.id == first.c.workflow_id)
    return found.where(first.c.error_class == OTHER_PARAMETERS).group_by(*group)


_STEPS = (_by_step(JobStatus.QUEUED, JobRow.queue), _by_step(JobStatus.SCHEDULED, JobRow.due_at))
_LEFT = (_left(JobStatus.QUEUED, JobRow.queue), _left(JobStatus.SCHEDULED, JobRow.due_at))


@dataclass(frozen=True, slots=True)
class Load:
    """The jobs of one queue. A count that is *capped* is the least that there are."""

    queued: int
    scheduled: int
    running: int
    oldest_seconds: float | None
    """Seconds since the queued job that waits longest was last dispatched."""
    capped: tuple[JobStatus, ...]


def loads(connection: Connection, most: int = MOST) -> dict[str, Load]:
    """Return the load of every queue that has jobs to be done.

    However many jobs the ledger has, it reads index entries of up to *most* of each status, in each queue for
    those that are queued.
    """
    queued = {row.queue: row for row in connection.execute(_QUEUED, {"most": most})}
    scheduled, running = (_by_queue(connection, query, most) for query in (_SCHEDULED, _RUNNING))
    others = {JobStatus.SCHEDULED: scheduled, JobStatus.RUNNING: running}
    capped = [status for status, jobs in others.items() if jobs.total() == most]
    found = {}
    for queue in sorted(queued.keys() | scheduled.keys() | running.keys()):
        row = queued.get(queue)
        found[queue] = Load(
            queued=row.jobs if row else 0,
            scheduled=scheduled[queue],
            running=running[queue],
            oldest_seconds=(row.read_at - row.oldest).total_seconds() if row and row.oldest else None,
            capped=(*([JobStatus.QUEUED] if row and row.jobs == most else []), *capped),
        )
    return found


def jobs_by_step(connection: Connection, most: int = MOST) -> Counter[Need]:
    """Count up to *most* queued and as many scheduled jobs by queue, kind and step."""
    found: Counter[Need] = Counter()
    for query in _STEPS:
        rows = connection.execute(query, {"most": most})
        found.update({Need(row.queue, row.kind, row.step): row.jobs for row in rows})
    return found


def jobs_left(connection: Connection, most: int = MOST) -> Counter[Need]:
    """Count those of them that a worker left for one that takes their arguments, by what they need."""
    found: Counter[Need] = Counter()
    for query in _LEFT:
        for row in connection.execute(query, {"most": most}):
            takes = parameters_at_start(row.terms, row.step)
            found[Need(row.queue, row.kind, row.step, takes)] += row.jobs
    return found


def _by_queue(connection: Connection, query: Select[str, int], most: int) -> Counter[str]:
    return Counter(dict(connection.execute(query, {"most": most}).all()))
