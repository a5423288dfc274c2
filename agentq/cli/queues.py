"""``agentq queues``: what waits and runs on each queue."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import partial
from typing import TYPE_CHECKING

import click

from agentq.cli import options
from agentq.cli.display import echo_json, rounded, table
from agentq.cli.group import ListingGroup
from agentq.cli.target import Target, pass_target
from agentq.operations import queues as operations
from agentq.operations.schemas import Queue
from agentq.states import JobStatus

if TYPE_CHECKING:
    from agentq.runtime.app import AgentQ


@click.group(cls=ListingGroup)
def queues() -> None:
    """Show the jobs that wait and run on each queue.

    \b
    Example:
      agentq -A proj queues
    """


@queues.command("list")
@options.as_json
@pass_target
def list_(target: Target, as_json: bool) -> None:
    """List queues: messages at the broker (depth), and jobs in the ledger.

    With -A also the queues of the app that have nothing to do, and the depths, which only the broker knows.
    Counting stops at 10,000 jobs; a count that ends in + is the least that there are.

    \b
    Example:
      agentq -A proj queues list
      agentq --ledger postgresql://host/database queues list --json
    """
    ledger = target.current_ledger()
    agentq = target.agentq
    if agentq is None:
        found = operations.list_(ledger)
    else:
        known = [*agentq.catalogue.queues(), agentq.settings.dead_letter_queue]
        found = operations.list_(ledger, known=known, depths=partial(_depths, agentq))
    if as_json:
        echo_json(found)
    elif found:
        header = ("QUEUE", "DEPTH", "QUEUED", "OLDEST", "RUNNING", "SCHEDULED")
        click.echo(table(header, map(_row, found)))
    else:
        click.echo("no queue has jobs to be done")


def _depths(agentq: AgentQ, names: Collection[str]) -> Mapping[str, int]:
    from agentq.runtime.dispatch.depths import depths  # it imports Celery

    try:
        return depths(agentq.app, names)
    except Exception as failure:  # each transport raises its own
        click.echo(f"warning: the broker does not give its depths: {type(failure).__name__}: {failure}", err=True)
        return {}


def _row(queue: Queue) -> tuple[str, ...]:
    return (
        queue.name,
        "?" if queue.depth is None else str(queue.depth),
        _count(queue, JobStatus.QUEUED),
        "" if queue.oldest_seconds is None else rounded(queue.oldest_seconds),
        _count(queue, JobStatus.RUNNING),
        _count(queue, JobStatus.SCHEDULED),
    )


def _count(queue: Queue, status: JobStatus) -> str:
    jobs = getattr(queue, status)
    return f"{jobs}+" if status in queue.capped else str(jobs)
