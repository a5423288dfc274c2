"""``agentq workflows watch``: what happens to a workflow, live, line by line."""

from __future__ import annotations

import json
from typing import Any

import click

from agentq.cli import options
from agentq.cli.display import GAP, coloured, json_of, one_line
from agentq.cli.target import Target, pass_target
from agentq.operations import events
from agentq.operations.identity import find_id
from agentq.operations.schemas import Event
from agentq.steps.events import PROGRESS

_KIND_WIDTH = len("workflow.succeeded")


@click.command()
@click.argument("workflow_id", metavar="ID")
@click.option("--after", metavar="EVENT", help="Only what came after the event of this id.")
@click.option("--no-follow", is_flag=True, help="End with what is there, rather than with the workflow.")
@options.as_json
@pass_target
def watch(target: Target, workflow_id: str, after: str | None, no_follow: bool, as_json: bool) -> None:
    """Show the events of a workflow, from its start to its end: reports of its steps, ends of attempts.

    With --json each line is an object, whose id goes to --after to go on later.

    \b
    Example:
      agentq workflows watch 019a8e5c-63a1-7c4e-b0f4-0a7d0b6f3a10
    """
    ledger = target.current_ledger()
    workflow_id = find_id(ledger, workflow_id, "workflow")
    for event in events.follow(ledger, workflow_id, after=after, follow=not no_follow):
        click.echo(json_of(event.model_dump(mode="json")) if as_json else _line(event))


def _line(event: Event) -> str:
    noun, _, status = event.kind.rpartition(".")
    kind = f"{noun}.{coloured(status)}" if noun else status
    cells = [
        f"{event.at:%H:%M:%S}",
        kind + " " * (_KIND_WIDTH - len(event.kind)),
        event.step or "",
        f"attempt {event.attempt}" if (event.attempt or 1) > 1 else "",
        one_line(_summary(event), 160),
    ]
    return GAP.join(cell for cell in cells if cell).rstrip()


def _summary(event: Event) -> str:
    if event.kind == PROGRESS:
        done, total = event.data["done"], event.data["total"]
        share = f"{done:g}" if total is None else f"{done:g}/{total:g}"
        return f"{share} {event.data['message']}"
    if "." in event.kind:
        return ", ".join(map(str, (event.data or {}).values()))
    return _text(event.data)


def _text(data: Any) -> str:
    return "" if data is None else data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)
