"""Commands that decide about one thing by its id, or, with ``--all``, about all that their filters find."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import click

from agentq.cli.display import echo_json
from agentq.operations.many import MOST, MOST_OF_ALL
from agentq.operations.schemas import Decided, Replays

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Many:
    """A decision on many, as given on the command line."""

    every: bool
    limit: int
    dry_run: bool
    yes: bool


@dataclass(frozen=True, slots=True)
class Words:
    """The words that describe a decision: ``cancel``, ``cancelled``, ``job``."""

    verb: str
    past: str
    noun: str


def of_many(command: F) -> F:
    """Add ``--all``, ``--limit``, ``--dry-run`` and ``--yes``; the command is given them as ``many``."""

    @functools.wraps(command)
    def packed(*args: Any, every: bool, limit: int, dry_run: bool, yes: bool, **rest: Any) -> Any:
        return command(*args, many=Many(every, limit, dry_run, yes), **rest)

    for option in (
        click.option("--yes", is_flag=True, help="With --all: do it without a question."),
        click.option("--dry-run", is_flag=True, help="With --all: only say which it would be."),
        click.option(
            "--limit",
            type=click.IntRange(1, MOST_OF_ALL),
            default=MOST,
            show_default=True,
            help="With --all: how many at most.",
        ),
        click.option("--all", "every", is_flag=True, help="All that the options name, oldest first."),
    ):
        packed = option(packed)
    return cast("F", packed)


def require_one_or_all(given: str | None, many: Many, narrow: Mapping[str, Any]) -> None:
    """Raise UsageError unless there is either an id, without filters, or --all."""
    if (given is None) is not many.every:
        raise click.UsageError("Give one ID, or --all for all that the options name.")
    of_all = {"--limit": many.limit != MOST, "--dry-run": many.dry_run}
    if not many.every and (options := [name for name, is_given in of_all.items() if is_given]):
        raise click.UsageError(f"{options[0]} is for --all: an ID names one, which is decided about at once.")
    if not many.every and (filters := [name for name, value in narrow.items() if value is not None]):
        raise click.UsageError(f"--{filters[0].replace('_', '-')} is for --all; with an ID there is one already.")


def carry_out(
    decide: Callable[..., Decided[Any]], many: Many, words: Words, *, name: str = "step", as_json: bool
) -> None:
    """Show the number of rows, ask, decide, and report the result.

    Args:
        decide: decides on up to *most* rows; with *dry_run* it only lists them.
        many: what the command line says.
        words: the words of the report.
        name: the attribute that identifies one of them beside its id.
        as_json: whether the report is JSON; the question stays on stderr.
    """
    decided = decide(most=many.limit, dry_run=True) if many.dry_run or not many.yes else None
    if decided is None or (decided.done and not many.dry_run):
        if decided is not None:
            refused = f" ({len(decided.refused)} would be refused)" if decided.refused else ""
            click.confirm(f"{words.verb} {_counted(decided, words.noun)}{refused}?", abort=True, err=True)
        decided = decide(most=many.limit, dry_run=False)
    if as_json:
        echo_json(decided)
    else:
        click.echo("\n".join(summary(decided, words, name, is_planned=many.dry_run)))


def summary(decided: Decided[Any], words: Words, name: str = "step", *, is_planned: bool = False) -> Iterable[str]:
    """Print the jobs that were decided about, or would be, and those that were left, with the reason."""
    did, noun = f"would {words.verb}" if is_planned else words.past, words.noun
    yield f"{did} {_counted(decided, noun)}"
    yield from (f"  {item.id}  {getattr(item, name)}" for item in decided.done)
    if isinstance(decided, Replays) and decided.capped:
        yield f"left {len(decided.capped)} that had been replayed too often; replay them too with --force"
        yield from (f"  {item.id}  {item.step}" for item in decided.capped)
    if decided.refused:
        yield f"{'would refuse' if is_planned else 'refused'} {len(decided.refused)}"
        yield from (f"  {item.id}  {' '.join(item.why.split())}" for item in decided.refused)


def _counted(decided: Decided[Any], noun: str) -> str:
    done = len(decided.done)
    of = f" of {decided.fit}" if decided.fit > done else ""
    return f"{done}{of} {noun}{'s' * ((decided.fit if of else done) != 1)}"
