"""``agentq dead-letters``: replay, edit, resolve, assign, cancel."""

from __future__ import annotations

from typing import Any

import click

from agentq.cli import options
from agentq.cli.dead_letter_options import know_steps, letter_id, letter_of, narrowed, parsed, reason, whole_ids
from agentq.cli.display import data, echo_json
from agentq.cli.target import Target, pass_target
from agentq.operations import dead_letters as operations
from agentq.operations.dead_letters import DeadLetterFilter
from agentq.operations.schemas import DeadLetter, Replays


@click.command()
@click.argument("letter_id", metavar="[ID]", required=False)
@click.option("--all", "every", is_flag=True, help="All open ones that the options name, oldest first.")
@narrowed
@click.option(
    "--attempts", type=click.IntRange(1, 1000), help="New attempts of each. Default: as its step allows."
)
@click.option(
    "--force", is_flag=True, help="Also jobs that were replayed as often as the setting max_replays says."
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
    force: bool,
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
    how: dict[str, Any] = {"attempts": attempts, "force": force, "reason": reason}
    how["most_replays"] = target.settings.max_replays
    ledger = target.current_ledger()
    if letter_id is not None:
        done = Replays(replayed=[operations.replay(ledger, letter_of(ledger, letter_id), **how)])
    else:
        wanted = DeadLetterFilter(**whole_ids(ledger, narrow))
        done = operations.replay_all(ledger, wanted, most=limit, rate=rate, dry_run=dry_run, **how)
    if as_json:
        echo_json(done)
    else:
        click.echo(_told(done, "would replay" if dry_run else "replayed"))


@click.command()
@letter_id
@click.option("--args", "args_json", metavar="JSON", help="The new positional arguments, as an array.")
@click.option("--kwargs", "kwargs_json", metavar="JSON", help="The new keyword arguments, as an object.")
@reason
@options.as_json
@pass_target
def edit(
    target: Target, letter_id: str, args_json: str | None, kwargs_json: str | None, reason: str, as_json: bool
) -> None:
    """Replace the arguments of a dead job; what is not given stays, and so does a secret that is left masked.

    They must fit the step, so the app that defines it is needed: -A. What a job before it gives is no argument
    that could be edited. Then replay it.

    \b
    Example:
      agentq -A proj dead-letters edit 019a8e5c-63a1-7c4e-b0f4-0a7d0b6f3a11 --kwargs '{"limit": 10}' --reason typo
    """
    args, kwargs = parsed("--args", args_json, list), parsed("--kwargs", kwargs_json, dict)
    if args is None and kwargs is None:
        raise click.UsageError("Give --args or --kwargs, or both.")
    know_steps(target)
    ledger, limit = target.current_ledger(), target.settings.max_value_bytes
    letter_id = letter_of(ledger, letter_id)
    letter = operations.edit(ledger, letter_id, args=args, kwargs=kwargs, max_value_bytes=limit, reason=reason)
    if as_json:
        echo_json(letter)
    else:
        click.echo(_edited(letter))


@click.command()
@letter_id
@click.option(
    "--result",
    "result_json",
    metavar="JSON",
    help="What the step should have returned. None for a fan-in that lacks parts: it goes on with what is there.",
)
@click.option("--unchecked", is_flag=True, help="Take it as it is: for a step that no code has any more.")
@reason
@options.as_json
@pass_target
def resolve(
    target: Target, letter_id: str, result_json: str | None, unchecked: bool, reason: str, as_json: bool
) -> None:
    """Give a dead job its result by hand; its workflow goes on with it.

    It must fit what the step says that it returns, so the app that defines it is needed: -A. A fan-in that lacks
    parts is resolved without a result: it goes on with the parts that are there.

    \b
    Example:
      agentq -A proj dead-letters resolve 019a8e5c-63a1-7c4e-b0f4-0a7d0b6f3a11 --result '"done by hand"'
    """
    result = operations.ABSENT
    if result_json is not None:
        result = parsed("--result", result_json, object)
        know_steps(target)
    ledger = target.current_ledger()
    letter = operations.resolve(
        ledger,
        letter_of(ledger, letter_id),
        result=result,
        unchecked=unchecked,
        max_value_bytes=target.settings.max_value_bytes,
        reason=reason,
    )
    _tell(letter, f"resolved dead letter {letter.id} of step {letter.step}", as_json)


@click.command()
@letter_id
@click.option("--owner", metavar="NAME", required=True, help="Who takes it on.")
@click.option("--note", metavar="TEXT", default="", help="What is to be done.")
@reason
@options.as_json
@pass_target
def assign(target: Target, letter_id: str, owner: str, note: str, reason: str, as_json: bool) -> None:
    """Make a dead letter the manual task of a person; it stays open.

    \b
    Example:
      agentq dead-letters assign 019a8e5c-63a1-7c4e-b0f4-0a7d0b6f3a11 --owner ann --note "ask the customer"
    """
    ledger = target.current_ledger()
    letter = operations.assign(ledger, letter_of(ledger, letter_id), owner=owner, note=note, reason=reason)
    _tell(letter, f"assigned dead letter {letter.id} of step {letter.step} to {letter.owner}", as_json)


@click.command()
@letter_id
@reason
@options.as_json
@pass_target
def cancel(target: Target, letter_id: str, reason: str, as_json: bool) -> None:
    """Give a dead job, or messages that nobody could take, up; a job's workflow stays failed.

    \b
    Example:
      agentq dead-letters cancel 019a8e5c-63a1-7c4e-b0f4-0a7d0b6f3a11 --reason "no longer needed"
    """
    ledger = target.current_ledger()
    letter = operations.cancel(ledger, letter_of(ledger, letter_id), reason=reason)
    _tell(letter, f"cancelled dead letter {letter.id} of step {letter.step}", as_json)


def _tell(letter: DeadLetter, line: str, as_json: bool) -> None:
    if as_json:
        echo_json(letter)
    else:
        click.echo(line)


def _told(done: Replays, did: str) -> str:
    lines = [f"{did} {len(done.replayed)}", *(f"  {letter.id}  {letter.step}" for letter in done.replayed)]
    if done.capped:
        lines.append(f"left {len(done.capped)} that had been replayed too often; replay them too with --force")
        lines += [f"  {letter.id}  {letter.step}" for letter in done.capped]
    if done.refused:
        lines += [f"refused {len(done.refused)}", *(f"  {letter.id}  {letter.why}" for letter in done.refused)]
    return "\n".join(lines)


def _edited(letter: DeadLetter) -> str:
    before = [action.replaced for action in letter.actions if action.replaced is not None][-1]
    return "\n".join(
        [
            f"edited the arguments of dead letter {letter.id} of step {letter.step}",
            f"before  {data(before[0])} {data(before[1])}",
            f"now     {data(letter.args)} {data(letter.kwargs)}",
            f"replay it with: agentq dead-letters replay {letter.id}",
        ]
    )
