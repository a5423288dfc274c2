"""``agentq workers``: list, show."""

from __future__ import annotations

import click

from agentq.cli import options
from agentq.cli.display import age, echo_json, fields, table, took, when
from agentq.cli.group import ListingGroup
from agentq.cli.target import Target, pass_target
from agentq.operations import workers as operations
from agentq.operations.identity import find_id
from agentq.operations.schemas import JobSummary, Worker, WorkerDetails
from agentq.states import WorkerStatus


@click.group(cls=ListingGroup)
def workers() -> None:
    """List and show workers, as the ledger knows them: no worker has to answer.

    \b
    Example:
      agentq workers
    """


@workers.command("list")
@options.status(WorkerStatus)
@options.limit
@options.as_json
@pass_target
def list_(target: Target, status: WorkerStatus | None, limit: int, as_json: bool) -> None:
    """List workers, newest first, until a week after their end.

    \b
    Example:
      agentq workers list --status alive
    """
    found = operations.list_(target.current_ledger(), status=status, limit=limit)
    if as_json:
        echo_json(found)
    elif found:
        header = ("ID", "STATUS", "RUNNING", "SINCE", "LEASE ENDS", "REFUSED", "WORKER")
        click.echo(table(header, map(_row, found)))
    else:
        click.echo("no workers")


@workers.command()
@click.argument("worker_id", metavar="ID")
@options.as_json
@pass_target
def show(target: Target, worker_id: str, as_json: bool) -> None:
    """Show a worker, by its id or its name, and the jobs that it runs.

    \b
    Example:
      agentq workers show 019a8e5c-63a1-7c4e-b0f4-0a7d0b6f3a12
      agentq workers show w1@shop
    """
    ledger = target.current_ledger()
    worker = operations.get(ledger, find_id(ledger, worker_id, "worker"))
    if as_json:
        echo_json(worker)
        return
    click.echo(_head(worker))
    if worker.jobs:
        click.echo("\njobs")
        click.echo(table(("ID", "RUNS FOR", "ATTEMPTS", "QUEUE", "STEP"), map(_job, worker.jobs)))


def _row(worker: Worker) -> tuple[str, ...]:
    return (
        str(worker.id),
        worker.status,
        str(worker.running),
        age(worker.started_at),
        age(worker.stopped_at or worker.lease_until),
        str(worker.refused_messages or ""),
        worker.hostname,
    )


def _head(worker: WorkerDetails) -> str:
    return fields(
        [
            ("worker", worker.hostname),
            ("id", str(worker.id)),
            ("process", str(worker.pid)),
            ("status", worker.status),
            ("running", str(worker.running)),
            ("started", when(worker.started_at)),
            ("seen", when(worker.seen_at)),
            ("lease ends", "" if worker.stopped_at else when(worker.lease_until)),
            ("stopped", when(worker.stopped_at)),
            ("refused", f"{worker.refused_messages} message(s)" if worker.refused_messages else ""),
            ("queues", ", ".join(worker.queues)),
            ("steps", ", ".join(worker.steps)),
            ("tasks", ", ".join(worker.tasks)),
        ]
    )


def _job(job: JobSummary) -> tuple[str, ...]:
    return (
        str(job.id),
        took(job.started_at, None),
        job.attempts_summary,
        job.queue,
        job.step,
    )
