"""Options that several commands have."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import Any, TypeVar

import click

from agentq.policies import written

F = TypeVar("F", bound=Callable[..., Any])


def duration(text: str) -> float:
    """Return the seconds of a duration such as 90s, 15m, 12h or 30d; a number alone is seconds."""
    seconds = written.duration(text)
    if seconds is None:
        raise click.BadParameter(f"{text!r} is no duration; write it as 90s, 15m, 12h or 30d.")
    return seconds


as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
limit = click.option(
    "--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="How many at most."
)
older_than = click.option(
    "--older-than", type=duration, help="Only those that were made longer ago than this: 90s, 15m, 12h, 30d."
)
oldest_first = click.option("--oldest-first", is_flag=True, help="List the oldest ones, oldest first.")
tenant = click.option("--tenant", help="Only those of this tenant.")
step = click.option("--step", help="Only those of this step, by its full name.")
queue = click.option("--queue", help="Only those of this queue.")
category = click.option("--category", help="Only those with this category of error.")
waiting_for = click.option(
    "--waiting-for",
    metavar="LIMIT",
    help="Only those that wait for a slot of this limit, by its name with the key.",
)
workflow = click.option("--workflow", metavar="ID", help="Only those of this workflow.")
reason = click.option("--reason", default="", help="Why, for the history.")


def status(values: Iterable[StrEnum]) -> Callable[[F], F]:
    """Return the option ``--status`` with these statuses as its choices."""
    return click.option(
        "--status", type=click.Choice(list(values), case_sensitive=False), help="Only those with this status."
    )


def together(*several: Callable[[F], F]) -> Callable[[F], F]:
    """Return a decorator that adds several options, in this order."""

    def add(command: F) -> F:
        for option in reversed(several):
            command = option(command)
        return command

    return add
