"""``agentq dead-letters``: replay, edit, resolve, assign, cancel."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import click

from agentq.cli import options
from agentq.cli.dead_letters.filters import (
    kind,
    know_steps,
    letter_id,
    letter_of,
    narrowed,
    one_or_all,
    parsed,
    whole_ids,
)
from agentq.cli.display import data, echo_json
from agentq.cli.many import Many, Words, carry_out, of_many, require_one_or_all, summary
from agentq.cli.target import Target, pass_target
from agentq.ledger.db.session import Ledger
from agentq.operations import dead_letters as operations
from agentq.operations.dead_letters import DeadLetterFilter
from agentq.operations.schemas import DeadLetter, DeadLetterSummary, Decided, Replays

_NOUN = "dead letter"


@click.command()
@one_or_all
@of_many
@narrowed
@click.option(
    "--attempts", type=click.IntRange(1, 1000), help="New attempts of each. Default: as its step allows."
)
@click.option(
    "--force", is_flag=True, help="Also jobs that were replayed as often as the setting max_replays says."
)
@click.option("--rate", type=float, default=10.0, show_default=True, help="With --all: how many a second at most.")
@options.reason
@options.as_json
@pass_target
def replay(
    target: Target,
    letter_id: str | None,
    many: Many,
    attempts: int | None,
    force: bool,
    rate: float,
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
    require_one_or_all(letter_id, many, narrow)
    how: dict[str, Any] = {"attempts": attempts, "force": force, "reason": reason}
    how["most_replays"] = target.settings.max_replays
    ledger = target.current_ledger()
    words = Words("replay", "replayed", _NOUN)
    if letter_id is None:
        _all(operations.replay_all, ledger, narrow, many, words, as_json, rate=rate, **how)
        return
    done = Replays(done=[operations.replay(ledger, letter_of(ledger, letter_id), **how)], fit=1)
    if as_json:
        echo_json(done)
    else:
        click.echo("\n".join(summary(done, words)))


@click.command()
@one_or_all
@of_many
@narrowed
@click.option("--args", "args_json", metavar="JSON", help="The new positional arguments, as an array.")
@click.option("--kwargs", "kwargs_json", metavar="JSON", help="The new keyword arguments, as an object.")
@options.reason
@options.as_json
@pass_target
def edit(
    target: Target,
    letter_id: str | None,
    many: Many,
    args_json: str | None,
    kwargs_json: str | None,
    reason: str,
    as_json: bool,
    **narrow: Any,
) -> None:
    """Replace the arguments of a dead job; what is not given stays, and so does a secret that is left masked.

    They must fit the step, so the app that defines it is needed: -A. What a job before it gives is no argument
    that could be edited. Then replay it. With --all, the same arguments for each.

    \b
    Example:
      agentq -A proj dead-letters edit 019a8e5c-63a1-7c4e-b0f4-0a7d0b6f3a11 --kwargs '{"limit": 10}' --reason typo
    """
    require_one_or_all(letter_id, many, narrow)
    args, kwargs = parsed("--args", args_json, list), parsed("--kwargs", kwargs_json, dict)
    if args is None and kwargs is None:
        raise click.UsageError("Give --args or --kwargs, or both.")
    know_steps(target)
    ledger = target.current_ledger()
    how: dict[str, Any] = {"args": args, "kwargs": kwargs, "reason": reason}
    how["max_value_bytes"] = target.settings.max_value_bytes
    if letter_id is None:
        _all(operations.edit_all, ledger, narrow, many, Words("edit", "edited", _NOUN), as_json, **how)
        return
    letter = operations.edit(ledger, letter_of(ledger, letter_id), **how)
    if as_json:
        echo_json(letter)
    else:
        click.echo(_edited(letter))


@click.command()
@one_or_all
@of_many
@narrowed
@click.option(
    "--result",
    "result_json",
    metavar="JSON",
    help="The step's result. None for a fan-in with missing members: it goes on with the others.",
)
@click.option("--unchecked", is_flag=True, help="Take it as it is: for a step that no code has any more.")
@options.reason
@options.as_json
@pass_target
def resolve(
    target: Target,
    letter_id: str | None,
    many: Many,
    result_json: str | None,
    unchecked: bool,
    reason: str,
    as_json: bool,
    **narrow: Any,
) -> None:
    """Give a dead job its result by hand; its workflow goes on with it.

    It must fit what the step says that it returns, so the app that defines it is needed: -A. A fan-in that lacks
    members is resolved without a result: it goes on with the members that are there. With --all, the same result
    for each.

    \b
    Example:
      agentq -A proj dead-letters resolve 019a8e5c-63a1-7c4e-b0f4-0a7d0b6f3a11 --result '"done by hand"'
    """
    require_one_or_all(letter_id, many, narrow)
    result = operations.ABSENT
    if result_json is not None:
        result = parsed("--result", result_json, object)
        know_steps(target)
    ledger = target.current_ledger()
    how: dict[str, Any] = {"result": result, "unchecked": unchecked, "reason": reason}
    how["max_value_bytes"] = target.settings.max_value_bytes
    if letter_id is None:
        _all(operations.resolve_all, ledger, narrow, many, Words("resolve", "resolved", _NOUN), as_json, **how)
        return
    letter = operations.resolve(ledger, letter_of(ledger, letter_id), **how)
    _report(letter, f"resolved dead letter {letter.id} of step {letter.step}", as_json)


@click.command()
@letter_id
@click.option("--owner", metavar="NAME", required=True, help="Who takes it on.")
@click.option("--note", metavar="TEXT", default="", help="What is to be done.")
@options.reason
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
    _report(letter, f"assigned dead letter {letter.id} of step {letter.step} to {letter.owner}", as_json)


@click.command()
@one_or_all
@of_many
@kind
@narrowed
@options.reason
@options.as_json
@pass_target
def cancel(target: Target, letter_id: str | None, many: Many, reason: str, as_json: bool, **narrow: Any) -> None:
    """Cancel a dead job, or messages that no worker could take; a job's workflow stays failed.

    \b
    Example:
      agentq dead-letters cancel 019a8e5c-63a1-7c4e-b0f4-0a7d0b6f3a11 --reason "no longer needed"
      agentq dead-letters cancel --all --kind message --older-than 30d --yes
    """
    require_one_or_all(letter_id, many, narrow)
    ledger = target.current_ledger()
    if letter_id is None:
        words = Words("cancel", "cancelled", _NOUN)
        _all(operations.cancel_all, ledger, narrow, many, words, as_json, reason=reason)
        return
    letter = operations.cancel(ledger, letter_of(ledger, letter_id), reason=reason)
    _report(letter, f"cancelled dead letter {letter.id} of step {letter.step}", as_json)


def _all(
    decide: Callable[..., Decided[DeadLetterSummary]],
    ledger: Ledger,
    narrow: dict[str, Any],
    many: Many,
    words: Words,
    as_json: bool,
    **how: Any,
) -> None:
    wanted = DeadLetterFilter(**whole_ids(ledger, narrow))
    carry_out(partial(decide, ledger, wanted, **how), many, words, as_json=as_json)


def _report(letter: DeadLetter, line: str, as_json: bool) -> None:
    if as_json:
        echo_json(letter)
    else:
        click.echo(line)


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
