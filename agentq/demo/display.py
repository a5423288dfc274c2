"""Show how far a run is: live in a terminal where rich is installed, else as plain lines."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self, TextIO

import click

PAUSE = 1.0  # seconds between two plain lines


@dataclass(frozen=True)
class StepProgress:
    """The progress of one step; ``total`` is None while it is unknown."""

    step: str
    done: int
    running: int
    total: int | None


class Display(Protocol):
    """A context manager that shows the rows it was given last."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def update(self, rows: Sequence[StepProgress]) -> None:
        """Show the progress of all steps."""

    def say(self, line: str) -> None:
        """Print one line beside the progress."""


def open_display(stream: TextIO) -> Display:
    """Choose the display for a stream.

    Args:
        stream: where to print, such as ``sys.stdout``.

    Returns:
        A live one for a terminal that can move its cursor, if rich is installed; else plain lines.
    """
    if stream.isatty() and os.environ.get("TERM") != "dumb":
        try:
            return LiveDisplay(stream)
        except ImportError:
            pass
    return PlainDisplay(stream)


def may_color(stream: TextIO) -> bool:
    """Say whether coloured text may be printed to the stream: a terminal, and NO_COLOR is not set."""
    return stream.isatty() and not os.environ.get("NO_COLOR")


class PlainDisplay:
    """One line for all steps, when something changed: at most one a second, and always the last."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream, self._clock = stream, clock
        self._printed, self._latest, self._next = "", "", clock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._print()

    def update(self, rows: Sequence[StepProgress]) -> None:
        """Show the progress of all steps."""
        self._latest = " | ".join(_row_text(row) for row in rows)
        if self._clock() >= self._next:
            self._print()

    def say(self, line: str) -> None:
        """Print one line, after the progress that led to it."""
        self._print()
        click.echo(line, file=self._stream)

    def _print(self) -> None:
        if self._latest != self._printed:
            click.echo(self._latest, file=self._stream)
            self._printed, self._next = self._latest, self._clock() + PAUSE


class LiveDisplay:
    """A bar for each step, drawn by rich, which also honours NO_COLOR."""

    def __init__(self, stream: TextIO) -> None:
        # Late import: rich comes with the demo's extra only.
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            console=Console(file=stream),
        )
        self._tasks: dict[str, Any] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def update(self, rows: Sequence[StepProgress]) -> None:
        """Show the progress of all steps."""
        for row in rows:
            known: dict[str, Any] = {
                "completed": row.done,
                "total": row.total,
                "note": f"{row.running} running" if row.running else "",
            }
            if row.step in self._tasks:
                self._progress.update(self._tasks[row.step], **known)
            else:
                self._tasks[row.step] = self._progress.add_task(row.step, **known)

    def say(self, line: str) -> None:
        """Print one line above the bars."""
        self._progress.console.print(line, markup=False, highlight=False, soft_wrap=True)


def _row_text(row: StepProgress) -> str:
    total = "?" if row.total is None else row.total
    running = f" ({row.running} running)" if row.running else ""
    return f"{row.step} {row.done}/{total}{running}"
