"""Jobs: list, count, get, cancel, one or many, and what each one waits for."""

from __future__ import annotations

import json
import uuid
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, func, select

from agentq.exceptions import InvalidArguments, NotFound, StateConflict
from agentq.ledger import actions, cancels, moves, queue_moves
from agentq.ledger.db.session import Ledger
from agentq.ledger.db.types import AnyRow
from agentq.ledger.models import ActionRow, AttemptRow, JobRow
from agentq.ledger.transaction import Transaction
from agentq.operations import many
from agentq.operations.actors import operator_action
from agentq.operations.fan_ins import members_of
from agentq.operations.filters import Query, narrowed
from agentq.operations.identity import parse_id
from agentq.operations.job_waits import Waits
from agentq.operations.schemas import Attempt, ByHand, Decided, Job, JobSummary, shown
from agentq.redaction import show
from agentq.states import JOB_AHEAD, JOB_FINAL, JOB_OPEN, VIRTUAL, JobStatus

_NEXT = {
    JobStatus.RUNNING: "Its attempt goes on where it is: move it while it waits for the next one, or cancel it.",
    **dict.fromkeys(JOB_FINAL, "It has ended; a dead job can be moved once it was replayed."),
    **dict.fromkeys(JOB_AHEAD, "It is a join, which no worker runs: move the jobs before or after it."),
}


@dataclass(frozen=True, slots=True)
class JobFilter:
    """A filter on jobs; None means any. Joins are left out. ``older_than`` is in seconds since they were made."""

    status: JobStatus | None = None
    step: str | None = None
    tenant: str | None = None
    workflow: str | None = None
    queue: str | None = None
    category: str | None = None
    older_than: float | None = None


@dataclass(frozen=True, slots=True)
class StepCount:
    """The number of jobs of one step and status; ``dispatched_again`` counts those whose message was lost."""

    step: str
    status: JobStatus
    jobs: int
    dispatched_again: int


def list_(ledger: Ledger, wanted: JobFilter, *, limit: int = 50, oldest_first: bool = False) -> list[JobSummary]:
    """Return up to *limit* jobs, newest first or oldest first."""
    query = _filtered(select(JobRow.__table__), wanted)
    query = query.order_by(JobRow.id if oldest_first else JobRow.id.desc()).limit(limit)
    return ledger.read(lambda connection: summaries(connection, query))


def count(ledger: Ledger, wanted: JobFilter) -> int:
    """Return how many jobs there are; joins are left out."""
    query = _filtered(select(func.count()).select_from(JobRow), wanted)
    return ledger.read(lambda connection: connection.scalar(query) or 0)


def cancel(ledger: Ledger, job_id: str, *, workflow: str | None = None, actor: str = "", reason: str = "") -> bool:
    """Cancel a job and the jobs that need it: a member of a fan-in that can do without, or its whole workflow.

    Args:
        ledger: where.
        job_id: the job.
        workflow: the workflow that it must be of; None for any.
        actor: who, for the history. Default: the name of the process's user.
        reason: why, for the history.

    Returns False where the job had ended before. Raises NotFound.
    """
    wanted = parse_id(job_id, "job")
    of_workflow = None if workflow is None else parse_id(workflow, "workflow")
    action = operator_action(actor, reason)

    def write(tx: Transaction) -> bool:
        found = tx.connection.scalar(select(JobRow.workflow_id).where(JobRow.id == wanted))
        if found is None or of_workflow not in (None, found):
            raise _no_job(job_id, "" if of_workflow is None else f" of workflow {workflow}")
        is_cancelled = cancels.cancel_job(tx, wanted, **action)
        moves.schedule_dispatches(tx)
        return is_cancelled

    return ledger.write(write)


def cancel_all(
    ledger: Ledger,
    wanted: JobFilter,
    *,
    most: int = many.MOST,
    dry_run: bool = False,
    actor: str = "",
    reason: str = "",
) -> Decided[JobSummary]:
    """Cancel jobs that have not ended, and what needs them, oldest first.

    Args:
        ledger: where.
        wanted: which; of a status that has ended there are none.
        most: how many at most, up to 10,000.
        dry_run: only say which it would be.
        actor: who, for the history. Default: the name of the process's user.
        reason: why, for the history.

    Returns those that were cancelled, some perhaps with the workflow of one before them, or would be; and those
    that were refused: they had ended before. Each is a transaction of its own. Raises InvalidArguments.
    """
    query = _filtered(select(JobRow.__table__), wanted).where(JobRow.status.in_(sorted(JOB_OPEN)))
    plan = Decided[JobSummary](**many.find(ledger, query, JobRow.id, summaries, most))

    def stop(job: JobSummary, _: int) -> JobSummary:
        cancel(ledger, str(job.id), actor=actor, reason=reason)
        now = summary(ledger, str(job.id))
        if now.status != JobStatus.CANCELLED:
            raise StateConflict(f"job {now.id}", expected=sorted(JOB_OPEN), found=now.status)
        return now

    return plan if dry_run else many.carry_out(plan, stop)


def move(ledger: Ledger, job_id: str, queue: str, *, actor: str = "", reason: str = "") -> JobSummary:
    """Move a job that waits, for its time, for jobs before it or for a worker, to another queue.

    The message in the old queue does nothing any more; a live worker's caretaker sends one to the new queue.

    Args:
        ledger: where.
        job_id: the job.
        queue: the new queue, 1 to 255 printable characters; one that no worker consumes is taken too.
        actor: who, for the history. Default: the name of the process's user.
        reason: why, for the history.

    Returns the job. Raises NotFound; InvalidArguments for a name that is no queue's; StateConflict where the job
    runs or has ended, or is a join.
    """
    wanted = parse_id(job_id, "job")
    _require_name(queue)
    action = operator_action(actor, reason)
    found = ledger.write(lambda tx: queue_moves.move_job(tx, wanted, queue, **action))
    if found is not None:
        raise StateConflict(f"job {job_id}", expected=sorted(JOB_AHEAD), found=found, next_step=_NEXT[found])
    return summary(ledger, job_id)


def move_all(
    ledger: Ledger,
    wanted: JobFilter,
    queue: str,
    *,
    most: int = many.MOST,
    dry_run: bool = False,
    actor: str = "",
    reason: str = "",
) -> Decided[JobSummary]:
    """Move jobs that wait to another queue, oldest first.

    Args:
        ledger: where.
        wanted: which; of those that run or have ended there are none.
        queue: the new queue.
        most: how many at most, up to 10,000.
        dry_run: only say which it would be.
        actor: who, for the history. Default: the name of the process's user.
        reason: why, for the history.

    Returns those that were moved, or would be; and those that were refused: they ran or had ended before. Each
    is a transaction of its own. Raises InvalidArguments.
    """
    _require_name(queue)
    query = _filtered(select(JobRow.__table__), wanted)
    query = query.where(JobRow.status.in_(sorted(JOB_AHEAD)), JobRow.queue != queue)
    plan = Decided[JobSummary](**many.find(ledger, query, JobRow.id, summaries, most))
    if dry_run:
        return plan
    return many.carry_out(plan, lambda job, _: move(ledger, str(job.id), queue, actor=actor, reason=reason))


def summary(ledger: Ledger, job_id: str) -> JobSummary:
    """Return one job without its arguments, result and attempts; raises NotFound."""
    query = select(JobRow.__table__).where(JobRow.id == parse_id(job_id, "job"))
    found = ledger.read(lambda connection: summaries(connection, query))
    if not found:
        raise _no_job(job_id)
    return found[0]


def get(ledger: Ledger, job_id: str) -> Job:
    """Return everything about one job; raises NotFound."""
    wanted = parse_id(job_id, "job")
    jobs = ledger.read(lambda connection: read_jobs(connection, wanted))
    if not jobs:
        raise _no_job(job_id)
    return jobs[0]


def progress(ledger: Ledger, workflow_id: str) -> list[StepCount]:
    """Count the jobs of a workflow by step and status, in one query; joins are left out."""
    query = (
        select(JobRow.step, JobRow.status, func.count(), func.count().filter(JobRow.dispatches > 0))
        .where(JobRow.workflow_id == parse_id(workflow_id, "workflow"), JobRow.kind.not_in(sorted(VIRTUAL)))
        .group_by(JobRow.step, JobRow.status)
    )
    return ledger.read(
        lambda connection: [
            StepCount(step, JobStatus(status), jobs, again)
            for step, status, jobs, again in connection.execute(query)
        ]
    )


def of_workflow(ledger: Ledger, workflow_id: str) -> list[Job]:
    """Return all jobs of a workflow, oldest first."""
    wanted = parse_id(workflow_id, "workflow")
    return ledger.read(lambda connection: read_all(connection, wanted))


def running_on(connection: Connection, worker_id: uuid.UUID, *, limit: int) -> list[JobSummary]:
    """Return up to *limit* jobs that a worker runs, newest first, on a connection that is open already."""
    running = (JobRow.status == JobStatus.RUNNING, JobRow.worker_id == worker_id)
    query = select(JobRow.__table__).where(*running).order_by(JobRow.id.desc()).limit(limit)
    return summaries(connection, query)


def read_all(connection: Connection, workflow_id: uuid.UUID) -> list[Job]:
    """Return all jobs of a workflow, oldest first, on a connection that is open already."""
    return _read(connection, JobRow.workflow_id == workflow_id)


def read_jobs(connection: Connection, job_id: uuid.UUID) -> list[Job]:
    """Return the job of this id, if there is one, on a connection that is open already."""
    return _read(connection, JobRow.id == job_id)


def _read(connection: Connection, wanted: Any) -> list[Job]:
    attempts: dict[uuid.UUID, list[Attempt]] = defaultdict(list)
    history = (
        select(AttemptRow.__table__)
        .join(JobRow, JobRow.id == AttemptRow.job_id)
        .where(wanted)
        .order_by(AttemptRow.job_id, AttemptRow.number)
    )
    for row in connection.execute(history):
        attempts[row.job_id].append(Attempt.model_validate(row))
    rows = connection.execute(select(JobRow.__table__).where(wanted).order_by(JobRow.id)).all()
    by_hand, members = _by_hand(connection, rows), members_of(connection, rows)
    waits = Waits.read(connection, rows)
    return [_job(row, attempts[row.id], waits, by_hand.get(row.id), members.get(row.id, 0)) for row in rows]


def _filtered(query: Query, wanted: JobFilter) -> Query:
    pairs = (
        (JobRow.status, wanted.status),
        (JobRow.step, wanted.step),
        (JobRow.tenant, wanted.tenant),
        (JobRow.workflow_id, wanted.workflow and parse_id(wanted.workflow, "workflow")),
        (JobRow.queue, wanted.queue),
        (JobRow.error_category, wanted.category),
    )
    query = query.where(JobRow.kind.not_in(sorted(VIRTUAL)))
    return narrowed(query, pairs, JobRow.created_at, wanted.older_than)


def select_jobs() -> Select[Any]:
    """Return the query of all jobs but the joins, which no worker runs; for ``summaries``."""
    return select(JobRow.__table__).where(JobRow.kind.not_in(sorted(VIRTUAL)))


def summaries(connection: Connection, query: Select[Any]) -> list[JobSummary]:
    """Return what a query of whole rows finds."""
    rows = connection.execute(query).all()
    by_hand, waits = _by_hand(connection, rows), Waits.read(connection, rows)
    return [JobSummary(**_summary(row, waits, by_hand.get(row.id))) for row in rows]


def _require_name(queue: str) -> None:
    if not queue or len(queue) > 255 or not queue.isprintable():
        raise InvalidArguments(f"the queue is {show(queue)}; its name must be 1 to 255 printable characters")


def _no_job(job_id: str, of: str = "") -> NotFound:
    return NotFound(f"no job{of} has the id {job_id}; list them with: agentq jobs list")


def _by_hand(connection: Connection, rows: Sequence[AnyRow]) -> dict[uuid.UUID, ByHand]:
    """The people who gave jobs their results, by job; one statement for all rows."""
    succeeded = [row for row in rows if row.status == JobStatus.SUCCEEDED]
    if not succeeded:
        return {}
    resolved = select(ActionRow.__table__).where(
        ActionRow.workflow_id.in_({row.workflow_id for row in succeeded}),
        ActionRow.job_id.in_({row.id for row in succeeded}),
        ActionRow.action == actions.RESOLVE,
    )
    return {row.job_id: ByHand.model_validate(row) for row in connection.execute(resolved)}


def _job(row: AnyRow, attempts: list[Attempt], waits: Waits, by_hand: ByHand | None, members: int) -> Job:
    args, kwargs = ([], {}) if row.kind in VIRTUAL else json.loads(row.arguments)
    return Job(
        **_summary(row, waits, by_hand, members)
        | {"args": shown(json.dumps(args)), "kwargs": shown(json.dumps(kwargs)), "result": shown(row.result)},
        attempts=tuple(attempts),
    )


def _summary(row: AnyRow, waits: Waits, by_hand: ByHand | None, members: int = 0) -> dict[str, Any]:
    return {**row._mapping, "waiting_for": waits.of(row, members), "by_hand": by_hand}
