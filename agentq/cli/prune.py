"""``agentq prune``: delete what ended long ago."""

from __future__ import annotations

import click

from agentq.cli import options
from agentq.cli.display import echo_json
from agentq.cli.target import Target, pass_target
from agentq.operations import pruning
from agentq.operations.schemas import Pruned
from agentq.states import WORKFLOW_FINAL, WorkflowStatus


@click.command()
@click.option(
    "--older-than",
    type=options.duration,
    required=True,
    help="Time since the end: 90s, 15m, 12h, 30d; a number alone is seconds.",
)
@click.option(
    "--status",
    type=click.Choice(sorted(WORKFLOW_FINAL), case_sensitive=False),
    help="Only those with this status.",
)
@options.tenant
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=pruning.MOST_WORKFLOWS,
    show_default=True,
    help="How many workflows at most.",
)
@click.option("--dry-run/--yes", default=True, help="Say what would be deleted (the default), or delete it.")
@options.as_json
@pass_target
def prune(
    target: Target,
    older_than: float,
    status: WorkflowStatus | None,
    tenant: str | None,
    limit: int,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Delete workflows that ended long ago, with their jobs, attempts and closed dead letters.

    Without --yes nothing is deleted, and the rows are only counted. Workflows of which a job may still move or a
    dead letter is open are left alone, whatever their age. The idempotency keys of what is deleted are free again.
    Limits that no job has any more go too, but for those that an operator has changed.

    \b
    Example:
      agentq prune --older-than 30d
      agentq prune --older-than 30d --yes
      agentq prune --older-than 7d --status succeeded --tenant acme --yes
    """
    pruned = pruning.prune(
        target.current_ledger(), older_than=older_than, status=status, tenant=tenant, limit=limit, dry_run=dry_run
    )
    if as_json:
        echo_json(pruned)
    else:
        click.echo(_summary(pruned))


def _summary(pruned: Pruned) -> str:
    what = (
        f"{'would delete' if pruned.is_dry_run else 'deleted'} {pruned.workflows} workflow(s) with "
        f"{pruned.jobs} job(s), and {pruned.dead_letters} closed dead letter(s)"
    ) + (f", and {pruned.limits} limit(s) that no job has" if pruned.limits else "")
    rest = "" if pruned.is_complete else "; there are more, beyond --limit"
    return what + rest + ("\nnothing was deleted; to do it: --yes" if pruned.is_dry_run else "")
