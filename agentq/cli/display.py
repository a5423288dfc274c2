"""Text for people: aligned columns, ages, durations; and JSON for programs."""

from __future__ import annotations

import codecs
import json
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any
from unicodedata import combining, east_asian_width

import click
from pydantic import BaseModel

from agentq.states import JobStatus, WorkerStatus

COLOURS = {
    JobStatus.SUCCEEDED: "green",
    "ok": "green",
    JobStatus.RUNNING: "cyan",
    JobStatus.FAILED: "red",
    JobStatus.CANCELLED: "red",
    "error": "red",
    "warning": "yellow",
    WorkerStatus.ALIVE: "green",
    WorkerStatus.LOST: "red",
}
"""Colours of the words for statuses. ``click.echo`` drops them where they cannot be shown."""

GAP = "  "


def echo_json(data: BaseModel | Sequence[BaseModel]) -> None:
    """Print read models as indented JSON: an object for one, an array for several."""
    dumped = (
        data.model_dump(mode="json")
        if isinstance(data, BaseModel)
        else [item.model_dump(mode="json") for item in data]
    )
    click.echo(json_of(dumped, indent=2))


def json_of(value: Any, indent: int | None = None) -> str:
    """Return JSON for stdout, which keeps every sign also where stdout has not all of them."""
    is_utf8 = codecs.lookup(sys.stdout.encoding or "ascii").name == "utf-8"
    return json.dumps(value, indent=indent, ensure_ascii=not is_utf8)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return rows as aligned columns under a header; cells that name a status are coloured."""
    lines = [header, *([one_line(cell) for cell in row] for row in rows)]
    widths = [max(map(columns, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        GAP.join(coloured(cell, width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def fields(pairs: Iterable[tuple[str, str]]) -> str:
    """Return names and values as two columns, without those that have no value."""
    filled = [(name, value) for name, value in pairs if value]
    width = max(len(name) for name, _ in filled)
    return "\n".join(f"{name:<{width}}{GAP}{coloured(value)}" for name, value in filled)


def coloured(text: str, width: int = 0) -> str:
    """Return *text* padded to *width*, in its colour where it names a status."""
    colour = COLOURS.get(text)
    shown = padded(text, width)
    return click.style(text, fg=colour) + shown[len(text) :] if colour else shown


def padded(text: str, width: int) -> str:
    """Return *text* with spaces up to a number of columns of a terminal."""
    return text + " " * (width - columns(text))


def columns(text: str) -> int:
    """Return how many columns of a terminal *text* takes: two for a wide sign, none for one that combines."""
    if text.isascii():
        return len(text)
    return sum(0 if combining(sign) else 2 if east_asian_width(sign) in "WF" else 1 for sign in text)


def one_line(text: str, limit: int = 80) -> str:
    """Return *text* as one line of at most *limit* characters, without anything a terminal would obey."""
    line = printable(" ".join(text.split()))
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


def printable(text: str) -> str:
    """Return *text* without control characters other than line ends: it may come from anywhere."""
    return "".join(char if char.isprintable() or char == "\n" else " " for char in text)


def age(time: datetime | None, now: datetime | None = None) -> str:
    """Return the age of a time, such as ``3 min ago``; empty where there is none."""
    if time is None:
        return ""
    seconds = ((now or datetime.now(UTC)) - time).total_seconds()
    return f"{rounded(seconds)} ago" if seconds >= 0 else f"in {rounded(-seconds)}"


def rounded(seconds: float) -> str:
    """Return a duration in its largest unit: ``12 s``, ``3 min``, ``5 h``, ``4 days``."""
    for size, unit in ((86_400, "days"), (3_600, "h"), (60, "min")):
        if seconds >= size * 2 or (seconds >= size and unit != "days"):
            return f"{seconds // size:.0f} {unit}"
    return f"{seconds:.0f} s"


def took(started: datetime | None, finished: datetime | None) -> str:
    """Return how long something took, or takes so far; empty where it did not start."""
    seconds = seconds_between(started, finished)
    if seconds is None:
        return ""
    return f"{seconds:.2f} s" if seconds < 10 else rounded(seconds)


def seconds_between(started: datetime | None, finished: datetime | None) -> float | None:
    """Return the seconds from *started* to *finished*, or to now where it is not finished."""
    return None if started is None else ((finished or datetime.now(UTC)) - started).total_seconds()


def when(time: datetime | None) -> str:
    """Return a time in UTC together with its age."""
    return "" if time is None else f"{time:%Y-%m-%d %H:%M:%S} UTC, {age(time)}"


def data(value: Any) -> str:
    """Return JSON-able data for people: on one line where it is short, else indented."""
    line = json.dumps(value, ensure_ascii=False)
    return printable(line if len(line) <= 80 else json.dumps(value, indent=2, ensure_ascii=False))
