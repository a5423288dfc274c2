"""``agentq jobs``: list, show, cancel, move."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from functools import partial
from textwrap import indent
from typing import TYPE_CHECKING, Any

import click

from agentq.cli import options
from agentq.cli.describe import by_hand_of, error_of, note_of, page_of, took_of
from agentq.cli.display import age, coloured, data, echo_json, fields, printable, rounded, table, took, when
from agentq.cli.group import ListingGroup
from agentq.cli.many import Many, Words, carry_out, of_many, require_one_or_all
from agentq.cli.target import Target, pass_target
from agentq.exceptions import StateConflict
from agentq.ledger.db.session import Ledger
from agentq.operations import health, workflow_waits
from agentq.operations import jobs as operations
from agentq.operations.identity import find_id
from agentq.operations.schemas import Attempt, Job, JobSummary
from agentq.states import JOB_AHEAD, JOB_OPEN, RUNNABLE, JobStatus

if TYPE_CHECKING:
    from agentq.runtime.app import AgentQ

NARROWED = (
    options.step,
    options.queue,
    options.tenant,
    options.workflow,
    options.category,
    options.waiting_for,
    options.older_than,
)
narrowed = options.together(*NARROWED)


@click.group(cls=ListingGroup)
def jobs() -> None:
    """List, show, cancel and move jobs.

    \b
    Example:
      agentq jobs list --status queued
    """


@jobs.command("list")
@options.status(JobStatus)
@narrowed
@options.oldest_first
@options.limit
@options.as_json
@pass_target
def list_(target: Target, limit: int, oldest_first: bool, as_json: bool, **narrow: Any) -> None:
    """List jobs, newest first.

    \b
    Example:
      agentq jobs list --status failed --step reports.summarize
    """
    ledger = target.current_ledger()
    found = operations.list_(ledger, _filter(ledger, narrow), limit=limit, oldest_first=oldest_first)
    if as_json:
        echo_json(found)
    elif found:
        header = ("ID", "STATUS", "MADE", "TOOK", "ATTEMPTS", "QUEUE", "STEP", "NOTE")
        click.echo(table(header, map(_row, found)))
    else:
        click.echo("no jobs")


@jobs.command()
@click.argument("job_id", metavar="ID")
@options.as_json
@pass_target
def show(target: Target, job_id: str, as_json: bool) -> None:
    """Show a job: its arguments and result (secrets masked), and every attempt with its error.

    \b
    Example:
      agentq jobs show 019a8e5c-63a1-7c4e-b0f4-0a7d0b6f3a11
    """
    ledger = target.current_ledger()
    job = operations.get(ledger, find_id(ledger, job_id, "job"))
    if job.status == JobStatus.QUEUED and target.agentq is not None:
        job = _explained(job, target.agentq)
    if as_json:
        echo_json(job)
        return
    ids = {worker for worker in (job.worker_id, *(item.worker_id for item in job.attempts)) if worker}
    workers = health.worker_names(ledger, ids)
    page = page_of(job.id, target.settings.flower_url) if job.kind in RUNNABLE else ""
    alone = workflow_waits.without_worker(ledger) if job.status in JOB_OPEN else ""
    click.echo("\n".join([_head(job, workers, page, alone), *_history(job, workers)]))


@jobs.command()
@click.argument("job_id", metavar="[ID]", required=False)
@of_many
@options.status(sorted(JOB_OPEN))
@narrowed
@options.reason
@options.as_json
@pass_target
def cancel(target: Target, job_id: str | None, many: Many, reason: str, as_json: bool, **narrow: Any) -> None:
    """Cancel a job and what needs it; or, with --all, all that have not ended and that the options name.

    In a fan-in that can do without, that is only the member of the job; anywhere else the whole workflow.

    \b
    Example:
      agentq jobs cancel 019a8e5c-63a1-7c4e-b0f4-0a7d0b6f3a11 --reason "takes too long"
      agentq jobs cancel --all --step reports.summarize --older-than 2h --dry-run
    """
    require_one_or_all(job_id, many, narrow)
    ledger = target.current_ledger()
    if job_id is None:
        cancel_all = partial(operations.cancel_all, ledger, _filter(ledger, narrow), reason=reason)
        carry_out(cancel_all, many, Words("cancel", "cancelled", "job"), as_json=as_json)
        return
    job_id = find_id(ledger, job_id, "job")
    cancelled = operations.cancel(ledger, job_id, reason=reason)
    job = operations.get(ledger, job_id)
    if not cancelled:
        raise StateConflict(
            f"job {job_id}", expected=sorted(JOB_OPEN), found=job.status, next_step="Nothing was changed."
        )
    if as_json:
        echo_json(job)
    else:
        click.echo(f"cancelled job {job.id} of step {job.step}")


@jobs.command()
@click.argument("job_ids", metavar="[ID]...", nargs=-1)
@click.option("--queue", "new_queue", metavar="NEW", required=True, help="The queue to move them to.")
@of_many
@options.status(sorted(JOB_AHEAD))
@options.together(
    click.option("--from-queue", "queue", metavar="OLD", help="Only those of this queue."),
    *(narrowing for narrowing in NARROWED if narrowing is not options.queue),
)
@options.reason
@options.as_json
@pass_target
def move(
    target: Target,
    job_ids: tuple[str, ...],
    new_queue: str,
    many: Many,
    reason: str,
    as_json: bool,
    **narrow: Any,
) -> None:
    """Move jobs that wait to another queue; or, with --all, all that wait and that the options name.

    Jobs that run or have ended stay where they are. A worker must consume the new queue, and know the step.

    \b
    Example:
      agentq jobs move --queue gpu 019a8e5c-63a1-7c4e-b0f4-0a7d0b6f3a11
      agentq jobs move --queue slow --all --from-queue default --step reports.summarize --dry-run
    """
    require_one_or_all(" ".join(job_ids) or None, many, narrow)
    ledger = target.current_ledger()
    if not job_ids:
        move_all = partial(operations.move_all, ledger, _filter(ledger, narrow), new_queue, reason=reason)
        carry_out(move_all, many, Words("move", "moved", "job"), as_json=as_json)
        return
    whole = [find_id(ledger, job_id, "job") for job_id in job_ids]
    moved = [operations.move(ledger, job_id, new_queue, reason=reason) for job_id in whole]
    if as_json:
        echo_json(moved)
    else:
        click.echo("\n".join(f"moved job {job.id} of step {job.step} to queue {job.queue}" for job in moved))


def _filter(ledger: Ledger, narrow: dict[str, Any]) -> operations.JobFilter:
    workflow = narrow["workflow"]
    return operations.JobFilter(**narrow | {"workflow": workflow and find_id(ledger, workflow, "workflow")})


def _row(job: JobSummary) -> tuple[str, ...]:
    return (
        str(job.id),
        job.status,
        age(job.created_at),
        took_of(job),
        job.attempts_summary,
        job.queue,
        job.step,
        note_of(job),
    )


def _explained(job: Job, agentq: AgentQ) -> Job:
    """Say of a queued job that the broker refuses its queue, where it does: the ledger cannot know."""
    from agentq.runtime.app_health import why_refused

    return job.model_copy(update={"waiting_for": why_refused(agentq, job.queue) or job.waiting_for})


def _head(job: Job, workers: Mapping[uuid.UUID, str], page: str, alone: str) -> str:
    return fields(
        [
            ("job", str(job.id)),
            ("step", job.step),
            ("workflow", str(job.workflow_id)),
            ("tenant", job.tenant),
            ("status", job.status),
            ("waits for", printable(job.waiting_for or "")),
            ("workers", alone),
            ("due", when(job.due_at) if job.status == JobStatus.SCHEDULED else ""),
            ("error", printable(error_of(job))),
            ("category", job.error_category or ""),
            ("ended by", printable(job.due_reason or "") if job.status == JobStatus.FAILED else ""),
            ("decide", f"agentq dead-letters show {job.id}" if job.status == JobStatus.FAILED else ""),
            ("result given", printable(by_hand_of(job.by_hand)) if job.by_hand else ""),
            ("attempts", job.attempts_summary if job.kind in RUNNABLE else ""),
            ("deferrals", f"{job.deferrals}, {rounded(job.deferred)} in all, at no cost" if job.deferrals else ""),
            ("worker", workers.get(job.worker_id, "") if job.worker_id and not job.by_hand else ""),
            ("queue", job.queue if job.priority is None else f"{job.queue}, priority {job.priority}"),
            ("timeout", "" if job.timeout is None else f"{job.timeout:g} s"),
            ("expires", when(job.expires_at)),
            ("made", when(job.created_at)),
            ("started", when(job.started_at)),
            ("took", took_of(job)),
            ("flower", page),
            ("arguments", data(job.args) if job.args else ""),
            ("keywords", data(job.kwargs) if job.kwargs else ""),
            ("result", data(job.result) if job.status == JobStatus.SUCCEEDED else ""),
        ]
    )


def _history(job: Job, workers: Mapping[uuid.UUID, str]) -> Iterator[str]:
    for attempt in job.attempts:
        yield f"\nattempt {attempt.number}: {coloured(attempt.outcome)}{_circumstances(attempt, workers)}"
        for text in (error_of(attempt), _answer(attempt), attempt.error_traceback):
            if text:
                yield indent(printable(text.rstrip()), "  ")


def _answer(attempt: Attempt) -> str:
    """The answer of a provider, if the attempt failed with one."""
    said = {
        "provider": attempt.error_provider,
        "status": attempt.error_status,
        "code": attempt.error_code,
        "request": attempt.error_request_id,
    }
    return ", ".join(f"{name} {value}" for name, value in said.items() if value is not None)


def _circumstances(attempt: Attempt, workers: Mapping[uuid.UUID, str]) -> str:
    worker = workers.get(attempt.worker_id) if attempt.worker_id else None
    duration = took(attempt.started_at, attempt.finished_at)
    parts = [f"after {duration}" if duration else "", f"on {worker}" if worker else "", age(attempt.finished_at)]
    return "".join(f", {part}" for part in parts if part)
