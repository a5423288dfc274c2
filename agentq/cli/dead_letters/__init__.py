"""``agentq dead-letters``: list, count, show; and the group that the decisions belong to."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from textwrap import indent
from typing import Any

import click

from agentq.canvas.each import NAME as EACH
from agentq.cli import options
from agentq.cli.dead_letters import decisions
from agentq.cli.dead_letters.filters import kind, letter_id, letter_of, narrowed, whole_ids
from agentq.cli.describe import page_of
from agentq.cli.display import age, coloured, data, echo_json, fields, printable, table, took, when
from agentq.cli.group import ListingGroup
from agentq.cli.target import Target, pass_target
from agentq.operations import dead_letters as operations
from agentq.operations.dead_letters import CountBy, DeadLetterFilter
from agentq.operations.schemas import DeadLetter, DeadLetterSummary
from agentq.states import MISSING_MEMBERS, DeadLetterStatus


@click.group("dead-letters", cls=ListingGroup)
def dead_letters() -> None:
    """List and show what failed for good, and decide about it.

    \b
    Example:
      agentq dead-letters list --category rate_limit
    """


for command in (decisions.replay, decisions.edit, decisions.resolve, decisions.assign, decisions.cancel):
    dead_letters.add_command(command)


@dead_letters.command("list")
@options.status(DeadLetterStatus)
@kind
@narrowed
@options.oldest_first
@options.limit
@options.as_json
@pass_target
def list_(
    target: Target,
    status: DeadLetterStatus | None,
    limit: int,
    oldest_first: bool,
    as_json: bool,
    **narrow: Any,
) -> None:
    """List dead letters, newest first; without --status, those that are open.

    \b
    Example:
      agentq dead-letters list --step reports.summarize --older-than 3600
      agentq dead-letters list --needs-person --owner ann
    """
    ledger = target.current_ledger()
    wanted = DeadLetterFilter(status=status or DeadLetterStatus.OPEN, **whole_ids(ledger, narrow))
    found = operations.list_(ledger, wanted, limit=limit, oldest_first=oldest_first)
    if as_json:
        echo_json(found)
    elif found:
        header = ("ID", "STATUS", "DIED", "LAST ATTEMPT", "TENANT", "STEP", "CATEGORY", "PERSON", "OWNER", "ERROR")
        click.echo(table(header, map(_row, found)))
    else:
        click.echo("no dead letters")


@dead_letters.command("count")
@click.option(
    "--by", type=click.Choice(CountBy, case_sensitive=False), help="How many of each. Default: how many in all."
)
@options.status(DeadLetterStatus)
@kind
@narrowed
@options.as_json
@pass_target
def count(
    target: Target, by: CountBy | None, status: DeadLetterStatus | None, as_json: bool, **narrow: Any
) -> None:
    """Count dead letters; without --status, those that are open.

    \b
    Example:
      agentq dead-letters count --by category --tenant acme
    """
    ledger = target.current_ledger()
    wanted = DeadLetterFilter(status=status or DeadLetterStatus.OPEN, **whole_ids(ledger, narrow))
    if by is None:
        letters = operations.count(ledger, wanted)
        click.echo(json.dumps({"letters": letters}) if as_json else letters)
        return
    found = operations.count_by(ledger, wanted, by)
    if as_json:
        echo_json(found)
    else:
        rows = ((item.value or "none", str(item.letters)) for item in found)
        click.echo(table((by.upper(), "LETTERS"), rows) if found else "no dead letters")


@dead_letters.command()
@letter_id
@options.as_json
@pass_target
def show(target: Target, letter_id: str, as_json: bool) -> None:
    """Show a dead letter, by its id or its job's: the error, every attempt, and what was decided.

    \b
    Example:
      agentq dead-letters show 019a8e5c-63a1-7c4e-b0f4-0a7d0b6f3a11
    """
    ledger = target.current_ledger()
    letter = operations.get(ledger, letter_of(ledger, letter_id))
    if as_json:
        echo_json(letter)
    else:
        page = "" if letter.job_id is None else page_of(letter.job_id, target.settings.flower_url)
        click.echo("\n".join(_shown(letter, page)))


def _row(letter: DeadLetterSummary) -> tuple[str, ...]:
    return (
        str(letter.id),
        letter.status,
        age(letter.created_at),
        str(letter.attempts),
        letter.tenant,
        letter.step,
        letter.error_category or "",
        "needed" if letter.needs_person else "",
        letter.owner or "",
        printable(letter.error_message or ""),
    )


def _shown(letter: DeadLetter, page: str) -> Iterator[str]:
    yield _head(letter, page)
    if letter.job_id is None:
        yield f"\nwhat could be read of it\n{indent(data(letter.snapshot), '  ')}"
    else:
        yield from map(_attempt, letter.snapshot["attempts"])
    if letter.actions:
        rows = [(age(action.created_at), action.actor, action.action, action.reason) for action in letter.actions]
        yield f"\nactions\n{table(('WHEN', 'WHO', 'WHAT', 'WHY'), rows)}"
    for action in letter.actions:
        if action.replaced is not None:
            yield f"\narguments before {action.actor} edited them\n{indent(data(action.replaced), '  ')}"


def _head(letter: DeadLetter, page: str) -> str:
    error = ": ".join(part for part in (letter.error_class, letter.error_message) if part)
    return fields(
        [
            ("dead letter", str(letter.id)),
            ("status", letter.status),
            ("step", letter.step),
            ("job", str(letter.job_id or "")),
            ("workflow", str(letter.workflow_id or "")),
            ("tenant", letter.tenant),
            ("category", letter.error_category or ""),
            ("error", printable(error)),
            ("attempts", _attempts(letter)),
            ("replays", str(letter.replays or "")),
            ("messages", "" if letter.job_id else str(letter.messages)),
            ("person", "needed" if letter.needs_person else ""),
            ("owner", letter.owner or ""),
            ("note", printable(letter.note or "")),
            ("flower", page),
            ("arguments", data(letter.args) if letter.args else ""),
            ("keywords", data(letter.kwargs) if letter.kwargs else ""),
            ("died", when(letter.created_at)),
            ("decide", _decisions(letter) if letter.status == DeadLetterStatus.OPEN else ""),
            ("closed", when(letter.closed_at)),
        ]
    )


def _decisions(letter: DeadLetter) -> str:
    """The decisions that a person can take on a dead letter, as commands of this program."""
    if letter.error_category == MISSING_MEMBERS:
        return "replay runs its missing members again; resolve, without --result, goes on with the others; cancel"
    if letter.job_id is None or letter.step == EACH:
        return "cancel ends it; no other decision is possible"
    return "replay, edit its arguments, resolve with a result, assign or cancel"


def _attempts(letter: DeadLetter) -> str:
    """The snapshot's text, which an older agentq may have written."""
    return "" if letter.job_id is None else letter.snapshot.get("attempts_summary") or str(letter.attempts)


def _attempt(attempt: dict[str, Any]) -> str:
    """One attempt as the snapshot has it, which an older agentq may have written."""
    started, finished = (_time(attempt.get(name)) for name in ("started_at", "finished_at"))
    duration = took(started, finished)
    lines = [
        f"\nattempt {attempt['number']}: {coloured(attempt['outcome'])}",
        f", after {duration}" if duration else "",
    ]
    lines.append(f", {age(finished)}" if finished else "")
    error = ": ".join(attempt[name] for name in ("error_class", "error_message") if attempt.get(name))
    said = ("provider", "status", "code", "request_id")
    provider = ", ".join(f"{name} {attempt[f'error_{name}']}" for name in said if attempt.get(f"error_{name}"))
    details = [error, provider, (attempt.get("error_traceback") or "").rstrip()]
    return "".join(lines) + "".join("\n" + indent(printable(text), "  ") for text in details if text)


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
