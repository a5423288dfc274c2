"""Options that the commands on dead letters share: the selection, the reason, and a line on an app's handlers."""

from __future__ import annotations

import json
from typing import Any

import click

from agentq.cli import options
from agentq.cli.target import Target
from agentq.ledger.db.session import Ledger
from agentq.operations.identity import find_id
from agentq.states import DeadLetterKind

letter_id = click.argument("letter_id", metavar="ID")
one_or_all = click.argument("letter_id", metavar="[ID]", required=False)
kind = click.option(
    "--kind", type=click.Choice(DeadLetterKind, case_sensitive=False), help="Only those of jobs, or of messages."
)


narrowed = options.together(
    options.step,
    options.category,
    options.tenant,
    options.workflow,
    click.option("--owner", metavar="NAME", help="Only those that were assigned to this person."),
    click.option("--needs-person", is_flag=True, default=None, help="Only those that ask for a person."),
    click.option("--older-than", type=options.duration, help="Only those that are older: 90s, 15m, 12h, 30d."),
)
"""The options that say which dead letters."""


def letter_of(ledger: Ledger, text: str) -> str:
    """Return the id of the dead letter, or of its job, that *text* is or begins."""
    return find_id(ledger, text, "dead-letter")


def whole_ids(ledger: Ledger, narrow: dict[str, Any]) -> dict[str, Any]:
    """Return the options that say which dead letters, with the workflow's whole id."""
    workflow = narrow["workflow"]
    return narrow | {"workflow": workflow and find_id(ledger, workflow, "workflow")}


def parsed(option: str, text: str | None, wanted: type) -> Any:
    """Return the JSON that an option has, None where it is not given; raises UsageError for anything else."""
    if text is None:
        return None
    try:
        value = json.loads(text)
    except ValueError as error:
        raise click.UsageError(
            f"{option} is no JSON: {error}. Text needs double quotes, inside the shell's."
        ) from None
    if not isinstance(value, wanted):
        shape = "an array, such as '[1, \"two\"]'" if wanted is list else "an object, such as '{\"limit\": 10}'"
        raise click.UsageError(f"{option} must be {shape}.")
    return value


def know_steps(target: Target) -> None:
    """Import the modules in which the app's steps are defined, where an app is named."""
    if target.agentq is not None:
        target.agentq.app.loader.import_default_modules()
        target.agentq.app.finalize()
