"""``agentq why``: the reason why a workflow or a job is not done."""

from __future__ import annotations

import click

from agentq.cli import options
from agentq.cli.display import echo_json, fields, printable
from agentq.cli.target import Target, pass_target
from agentq.operations import why as operations
from agentq.operations.schemas import Reason, Why


@click.command()
@click.argument("of", metavar="ID")
@options.limit
@options.as_json
@pass_target
def why(target: Target, of: str, limit: int, as_json: bool) -> None:
    """Say why a workflow or a job is not done: a reason for each job, and the event that ends it.

    Those jobs come first that all others wait for.

    \b
    Example:
      agentq why 019a8e5c-63a1-7c4e-b0f4-0a7d0b6f3a10
    """
    found = operations.find(target.current_ledger(), of, limit=limit)
    if as_json:
        echo_json(found)
        return
    click.echo("\n\n".join([_head(found), *map(_reason, found.reasons)]))
    if not found.is_complete:
        click.echo(f"\nthere are more, beyond --limit {limit}")


def _head(why: Why) -> str:
    of = f"job {why.job_id}" if why.job_id else f"workflow {why.workflow_id}"
    nothing = "" if why.reasons else ": it waits for nothing"
    return "\n".join(filter(None, [f"{of} is {why.status}{nothing}", why.workers]))


def _reason(reason: Reason) -> str:
    return fields(
        [
            ("job", str(reason.job_id)),
            ("step", reason.step),
            ("status", reason.status),
            ("waits for", printable(reason.waiting_for)),
            ("ends when", printable(reason.ends)),
        ]
    )
