"""Jobs: list, count, get, cancel, one or many, and what each one waits for."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from typing import Any

from agentq.exceptions import InvalidArguments, NotFound, StateConflict
from agentq.ledger import cancels, moves, queue_moves
from agentq.ledger.db.session import Ledger
from agentq.ledger.db.types import AnyRow
from agentq.ledger.queries import jobs
from agentq.ledger.queries.jobs import FoundJobs
from agentq.ledger.queries.selection import Selection
from agentq.ledger.transaction import Transaction
from agentq.operations import many
from agentq.operations.actors import operator_action
from agentq.operations.filters import checked
from agentq.operations.identity import parse_id
from agentq.operations.job_waits import Waits
from agentq.operations.schemas import Attempt, ByHand, Decided, Job, JobSummary
from agentq.redaction import show, shown
from agentq.states import JOB_AHEAD, JOB_FINAL, JOB_OPEN, RUNNABLE, JobStatus

_NEXT = {
    JobStatus.RUNNING: "Its attempt goes on where it is: move it while it waits for the next one, or cancel it.",
    **dict.fromkeys(JOB_FINAL, "It has ended; a dead job can be moved once it was replayed."),
    **dict.fromkeys(JOB_AHEAD, "It is a fan-in, which no worker runs: move the jobs before or after it."),
}


@dataclass(frozen=True, slots=True)
class JobFilter:
    """A filter on jobs, without fan-ins; None means any. ``older_than`` is in seconds since they were made."""

    status: JobStatus | None = None
    step: str | None = None
    tenant: str | None = None
    workflow: str | None = None
    queue: str | None = None
    category: str | None = None
    waiting_for: str | None = None
    """The name of a limit, with its key, in whose line they stand; or of a cap, such as ``max_open:acme``."""
    older_than: float | None = None


@dataclass(frozen=True, slots=True)
class StepCount:
    """The number of jobs of one step and status; ``dispatched_again`` counts those that were dispatched again."""

    step: str
    status: JobStatus
    jobs: int
    dispatched_again: int


def list_(ledger: Ledger, wanted: JobFilter, *, limit: int = 50, oldest_first: bool = False) -> list[JobSummary]:
    """Return up to *limit* jobs, newest first or oldest first."""
    selection = jobs.matching(checked(wanted))
    return summaries(ledger.read(partial(jobs.find, jobs=selection, limit=limit, oldest_first=oldest_first)))


def count(ledger: Ledger, wanted: JobFilter) -> int:
    """Return how many jobs there are; fan-ins are left out."""
    return ledger.read(jobs.matching(checked(wanted)).count)


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
        found = jobs.workflow_of(tx.connection, wanted)
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
    plan = _plan(ledger, jobs.open_(checked(wanted)), most)

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
    plan = _plan(ledger, jobs.movable(checked(wanted), queue), most)
    if dry_run:
        return plan
    return many.carry_out(plan, lambda job, _: move(ledger, str(job.id), queue, actor=actor, reason=reason))


def summary(ledger: Ledger, job_id: str) -> JobSummary:
    """Return one job without its arguments, result and attempts; raises NotFound."""
    found = summaries(ledger.read(partial(jobs.summary, job_id=parse_id(job_id, "job"))))
    if not found:
        raise _no_job(job_id)
    return found[0]


def get(ledger: Ledger, job_id: str) -> Job:
    """Return everything about one job; raises NotFound."""
    wanted = parse_id(job_id, "job")
    found = records(ledger.read(partial(jobs.get, job_id=wanted)))
    if not found:
        raise _no_job(job_id)
    return found[0]


def progress(ledger: Ledger, workflow_id: str) -> list[StepCount]:
    """Count the jobs of a workflow by step and status, in one query; fan-ins are left out."""
    counts = ledger.read(partial(jobs.progress, workflow_id=parse_id(workflow_id, "workflow")))
    return [StepCount(step, JobStatus(status), number, again) for step, status, number, again in counts]


def of_workflow(ledger: Ledger, workflow_id: str) -> list[Job]:
    """Return all jobs of a workflow, oldest first."""
    wanted = parse_id(workflow_id, "workflow")
    return records(ledger.read(partial(jobs.of_workflow, workflow_id=wanted)))


def summaries(found: FoundJobs) -> list[JobSummary]:
    """Return jobs of the ledger as lines of a list."""
    return [JobSummary(**_summary(row, found)) for row in found.rows]


def records(found: FoundJobs) -> list[Job]:
    """Return jobs of the ledger with everything about them."""
    return [_job(row, found) for row in found.rows]


def waits_of(found: FoundJobs) -> Waits:
    """Return the conditions that jobs of the ledger wait for."""
    return Waits(found.live, found.terms, found.failed, found.lines, found.caps)


def _plan(ledger: Ledger, selection: Selection, most: int) -> Decided[JobSummary]:
    found, fit = ledger.read(partial(jobs.first, jobs=selection, most=many.bounded(most)))
    return Decided[JobSummary](done=summaries(found), fit=fit)


def _require_name(queue: str) -> None:
    if not queue or len(queue) > 255 or not queue.isprintable():
        raise InvalidArguments(f"the queue is {show(queue)}; its name must be 1 to 255 printable characters")


def _no_job(job_id: str, of: str = "") -> NotFound:
    return NotFound(f"no job{of} has the id {job_id}; list them with: agentq jobs list")


def _job(row: AnyRow, found: FoundJobs) -> Job:
    args, kwargs = json.loads(row.arguments) if row.kind in RUNNABLE else ([], {})
    return Job(
        **_summary(row, found)
        | {"args": shown(json.dumps(args)), "kwargs": shown(json.dumps(kwargs)), "result": shown(row.result)},
        attempts=tuple(Attempt.model_validate(attempt) for attempt in found.attempts.get(row.id, ())),
    )


def _summary(row: AnyRow, found: FoundJobs) -> dict[str, Any]:
    by_hand = found.by_hand.get(row.id)
    return {
        **row._mapping,
        "waiting_for": waits_of(found).of(row, found.members.get(row.id, 0)),
        "by_hand": None if by_hand is None else ByHand.model_validate(by_hand),
    }
