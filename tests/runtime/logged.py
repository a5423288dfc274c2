"""The log of a worker of ``tests.runtime.logged_project``, as tests read it."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass

from tests.support import Worker, eventually

MODULE = "tests.runtime.logged_project"
_LINE = re.compile(r"^\[(\w+)\|([\w.]+)\] (.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Logged:
    """One line of a worker's log."""

    level: str
    name: str
    text: str


def reported(worker: Worker, *levels: str) -> list[str]:
    """The lines that agentq, and no other library, has logged at these levels so far."""
    return [line.text for line in _lines(worker.log()) if line.name.startswith("agentq") and line.level in levels]


def await_logged(worker: Worker, text: str, *levels: str) -> list[str]:
    """Wait for a line that has this text; return all lines of these levels."""
    eventually(lambda: any(text in line for line in reported(worker, *levels)), 30, what=text)
    return reported(worker, *levels)


def let_pass(seconds: float) -> None:
    """Let time pass in which a repeated line would be logged again."""
    began = time.monotonic()
    eventually(lambda: time.monotonic() - began > seconds, seconds + 10)


def _lines(log: str) -> Iterator[Logged]:
    return (Logged(*found) for found in _LINE.findall(log))
