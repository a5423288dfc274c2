"""``agentq dead-letters``: list, show, replay, cancel."""

from __future__ import annotations

from collections.abc import Callable
from textwrap import indent
from typing import Any, TypeVar

import click

from agentq.cli import options
from agentq.cli.display import age, data, echo_json, fields, printable, table, when
from agentq.cli.target import Target, pass_target
from agentq.operations import dead_letters as operations
from agentq.operations.dead_letters import DeadLetterFilter
from agentq.operations.schemas import DeadLetter, DeadLetterSummary
from agentq.states import DeadLetterStatus

F = TypeVar("F", bound=Callable[..., Any])

reason = click.option("--reason", default="", help="Why, for the history.")


def narrowed(command: F) -> F:
    """Add the options that say which dead letters."""
    for option in (
        click.option("--older-than", type=float, metavar="SECONDS", help="Only those that are older."),
        click.option("--workflow", metavar="ID", help="Only those of this workflow."),
        options.tenant,
        click.option("--category", help="Only those with this category of error."),
        click.option("--step", help="Only those of this step, by its full name."),
    ):
        command = option(command)
    return command


@click.group("dead-letters")
def dead_letters() -> None:
    """List and show what failed for good, and decide about it.

    \b
    Example:
      agentq dead-letters list --category rate_limit
    """


@dead_letters.command("list")
@options.status(DeadLetterStatus)
@narrowed
@options.limit
@options.as_json
@pass_target
def list_(target: Target, status: DeadLetterStatus | None, limit: int, as_json: bool, **narrow: Any) -> None:
    """List dead letters, newest first; without --status, those that are open.

    \b
    Example:
      agentq dead-letters list --step reports.summarize --older-than 3600
    """
    wanted = DeadLetterFilter(status=status or DeadLetterStatus.OPEN, **narrow)
    found = operations.list_(target.current_ledger(), wanted, limit=limit)
    if as_json:
        echo_json(found)
    elif found:
        header = ("ID", "STATUS", "DIED", "ATTEMPTS", "TENANT", "STEP", "CATEGORY", "ERROR")
        click.echo(table(header, map(_row, found)))
    else:
        click.echo("no dead letters")


@dead_letters.command()
@click.argument("letter_id", metavar="ID")
@options.as_json
@pass_target
def show(target: Target, letter_id: str, as_json: bool) -> None:
    """Show a dead letter, by its id or its job's: the error, every attempt, and what was decided.

    \b
    Example:
      agentq dead-letters show 019a8e5c-63a1-7c4e-b0f4-0a7d0b6f3a11
    """
    letter = operations.get(target.current_ledger(), letter_id)
    if as_json:
        echo_json(letter)
    else:
        click.echo(_shown(letter))


@dead_letters.command()
@click.argument("letter_id", metavar="[ID]", required=False)
@click.option("--all", "every", is_flag=True, help="All open ones that the options name, oldest first.")
@narrowed
@click.option(
    "--attempts", type=click.IntRange(1, 1000), help="New attempts of each. Default: as its step allows."
)
@click.option(
    "--limit", type=click.IntRange(1, 10_000), default=100, show_default=True, help="With --all: at most so many."
)
@click.option("--rate", type=float, default=10.0, show_default=True, help="With --all: at most so many a second.")
@click.option("--dry-run", is_flag=True, help="With --all: only say what would be replayed.")
@reason
@options.as_json
@pass_target
def replay(
    target: Target,
    letter_id: str | None,
    every: bool,
    attempts: int | None,
    limit: int,
    rate: float,
    dry_run: bool,
    reason: str,
    as_json: bool,
    **narrow: Any,
) -> None:
    """Give dead jobs new attempts; their workflows go on where they stopped.

    \b
    Example:
      agentq dead-letters replay 019a8e5c-63a1-7c4e-b0f4-0a7d0b6f3a11 --reason "the provider is back"
      agentq dead-letters replay --all --category overloaded --rate 5 --dry-run
    """
    if (letter_id is None) is not every:
        raise click.UsageError("Give the ID of one dead letter, or --all.")
    ledger = target.current_ledger()
    if letter_id is not None:
        replayed: list[DeadLetterSummary] = [
            operations.replay(ledger, letter_id, attempts=attempts, reason=reason)
        ]
    else:
        replayed = operations.replay_all(
            ledger,
            DeadLetterFilter(**narrow),
            attempts=attempts,
            most=limit,
            rate=rate,
            dry_run=dry_run,
            reason=reason,
        )
    if as_json:
        echo_json(replayed)
    else:
        did = "would replay" if dry_run else "replayed"
        click.echo(
            "\n".join([f"{did} {len(replayed)}", *(f"  {letter.id}  {letter.step}" for letter in replayed)])
        )


@dead_letters.command()
@click.argument("letter_id", metavar="ID")
@reason
@options.as_json
@pass_target
def cancel(target: Target, letter_id: str, reason: str, as_json: bool) -> None:
    """Give a dead job up: its dead letter is closed, its workflow stays failed.

    \b
    Example:
      agentq dead-letters cancel 019a8e5c-63a1-7c4e-b0f4-0a7d0b6f3a11 --reason "no longer needed"
    """
    letter = operations.cancel(target.current_ledger(), letter_id, reason=reason)
    if as_json:
        echo_json(letter)
    else:
        click.echo(f"cancelled dead letter {letter.id} of step {letter.step}")


def _row(letter: DeadLetterSummary) -> tuple[str, ...]:
    return (
        str(letter.id),
        letter.status,
        age(letter.created_at),
        str(letter.attempts),
        letter.tenant,
        letter.step,
        letter.error_category or "",
        printable(letter.error_message or ""),
    )


def _shown(letter: DeadLetter) -> str:
    head = fields(
        [
            ("dead letter", str(letter.id)),
            ("status", letter.status),
            ("step", letter.step),
            ("job", str(letter.job_id or "")),
            ("workflow", str(letter.workflow_id or "")),
            ("tenant", letter.tenant),
            ("category", letter.error_category or ""),
            ("error", printable(f"{letter.error_class}: {letter.error_message}")),
            ("attempts", str(letter.attempts)),
            ("owner", letter.owner or ""),
            ("note", letter.note or ""),
            ("died", when(letter.created_at)),
            ("closed", when(letter.closed_at)),
        ]
    )
    lines = [head]
    if letter.snapshot:
        lines += ["", "when it died", indent(data(letter.snapshot), "  ")]
    if letter.actions:
        rows = [(age(deed.created_at), deed.actor, deed.action, deed.reason) for deed in letter.actions]
        lines += ["", "actions", table(("WHEN", "WHO", "WHAT", "WHY"), rows)]
    return "\n".join(lines)
