"""``agentq workflows``: list, show, watch, cancel."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import click

from agentq.cli import options
from agentq.cli.describe import end_of, error_of, tree_of
from agentq.cli.display import age, echo_json, fields, printable, table, took, when
from agentq.cli.group import ListingGroup
from agentq.cli.many import Many, Words, carry_out, of_many, require_one_or_all
from agentq.cli.target import Target, pass_target
from agentq.cli.watch import watch
from agentq.exceptions import StateConflict
from agentq.operations import health, workflow_waits
from agentq.operations import workflows as operations
from agentq.operations.identity import find_id
from agentq.operations.schemas import Action, Job, WorkflowDetails, WorkflowSummary
from agentq.states import FAN_INS, WorkflowStatus

narrowed = options.together(
    options.tenant,
    click.option("--key", help="Only the one started with this idempotency key."),
    click.option("--name", help="Only those of this name: their canvas, as the list shows it."),
    options.older_than,
)


@click.group(cls=ListingGroup)
def workflows() -> None:
    """List, show, watch and cancel workflows.

    \b
    Example:
      agentq workflows list --status running
    """


workflows.add_command(watch)


@workflows.command("list")
@options.status(WorkflowStatus)
@narrowed
@options.oldest_first
@options.limit
@options.as_json
@pass_target
def list_(target: Target, limit: int, oldest_first: bool, as_json: bool, **narrow: Any) -> None:
    """List workflows, newest first.

    \b
    Example:
      agentq workflows list --status failed --tenant acme --limit 20
    """
    wanted = operations.WorkflowFilter(**narrow)
    found = operations.list_(target.current_ledger(), wanted, limit=limit, oldest_first=oldest_first)
    if as_json:
        echo_json(found)
    elif found:
        header = ("ID", "STATUS", "STARTED", "TOOK", "TENANT", "KEY", "NAME", "ERROR")
        click.echo(table(header, map(_row, found)))
    else:
        click.echo("no workflows")


@workflows.command()
@click.argument("workflow_id", metavar="ID")
@options.as_json
@pass_target
def show(target: Target, workflow_id: str, as_json: bool) -> None:
    """Show a workflow, the tree of its jobs, and what operators did.

    \b
    Example:
      agentq workflows show 019a8e5c-63a1-7c4e-b0f4-0a7d0b6f3a10
    """
    ledger = target.current_ledger()
    workflow = operations.get(ledger, find_id(ledger, workflow_id, "workflow"))
    if as_json:
        echo_json(workflow)
        return
    workers = health.worker_names(ledger, {job.worker_id for job in workflow.jobs if job.worker_id})
    alone = workflow_waits.without_worker(ledger) if workflow.status == WorkflowStatus.RUNNING else ""
    click.echo("\n".join([_head(workflow, alone), "", tree_of(workflow, workers), *_errors(workflow.jobs)]))
    if workflow.actions:
        click.echo("\nactions")
        click.echo(table(("WHEN", "WHO", "WHAT", "WHY", "JOB"), map(_action, workflow.actions)))


@workflows.command()
@click.argument("workflow_id", metavar="[ID]", required=False)
@of_many
@narrowed
@options.reason
@options.as_json
@pass_target
def cancel(target: Target, workflow_id: str | None, many: Many, reason: str, as_json: bool, **narrow: Any) -> None:
    """Cancel a workflow and all its jobs that are not done; or, with --all, all that run and the options name.

    What a worker brings for a job that it is running is discarded.

    \b
    Example:
      agentq workflows cancel 019a8e5c-63a1-7c4e-b0f4-0a7d0b6f3a10 --reason "wrong folder"
      agentq workflows cancel --all --tenant acme --older-than 1d --dry-run
    """
    require_one_or_all(workflow_id, many, narrow)
    ledger = target.current_ledger()
    if workflow_id is None:
        cancel_all = partial(operations.cancel_all, ledger, operations.WorkflowFilter(**narrow), reason=reason)
        carry_out(cancel_all, many, Words("cancel", "cancelled", "workflow"), name="name", as_json=as_json)
        return
    workflow_id = find_id(ledger, workflow_id, "workflow")
    cancelled = operations.cancel(ledger, workflow_id, reason=reason)
    workflow = operations.get(ledger, workflow_id)
    if not cancelled:
        raise StateConflict(
            f"workflow {workflow_id}",
            expected=[WorkflowStatus.RUNNING],
            found=workflow.status,
            next_step="Nothing was changed.",
        )
    if as_json:
        echo_json(workflow)
    else:
        click.echo(f"cancelled workflow {workflow.id}: {workflow.name}")


def _row(workflow: WorkflowSummary) -> tuple[str, ...]:
    return (
        str(workflow.id),
        workflow.status,
        age(workflow.created_at),
        took(workflow.created_at, workflow.finished_at),
        workflow.tenant,
        workflow.key or "",
        workflow.name,
        end_of(workflow),
    )


def _head(workflow: WorkflowDetails, alone: str) -> str:
    return fields(
        [
            ("workflow", str(workflow.id)),
            ("name", workflow.name),
            ("status", workflow.status),
            ("workers", alone),
            ("reason", printable(workflow.reason or "")),
            ("error", printable(error_of(workflow))),
            ("tenant", workflow.tenant),
            ("key", workflow.key or ""),
            ("started", when(workflow.created_at)),
            ("took", took(workflow.created_at, workflow.finished_at)),
            ("jobs", str(sum(job.kind not in FAN_INS for job in workflow.jobs))),
        ]
    )


def _errors(jobs: list[Job]) -> Iterator[str]:
    """The jobs whose last attempt failed, with the ids to ask for more."""
    failed = [job for job in jobs if job.error_class]
    if failed:
        yield "\nerrors (all about one: agentq jobs show JOB)"
        yield table(("JOB", "STEP", "ERROR"), ((str(job.id), job.step, error_of(job)) for job in failed))


def _action(action: Action) -> tuple[str, ...]:
    return age(action.created_at), action.actor, action.action, action.reason, str(action.job_id or "")
