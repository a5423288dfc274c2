"""Counts, files and commands as a reader wants them."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: ``1 job``, ``2 jobs``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def shown_path(path: Path) -> str:
    """Return a path relative to the current folder where it is below it."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def command(line: str, folder: Path) -> str:
    """Return a command line as it can be typed here, also outside the environment that the demo runs in.

    Args:
        line: a program of this environment and its arguments.
        folder: where the embedded ledger and broker live.
    """
    program, _, arguments = line.partition(" ")
    own, found = Path(sys.executable).with_name(program), shutil.which(program)
    is_on_path = not own.exists() or (found is not None and own.samefile(found))
    words = [program if is_on_path else shlex.quote(shown_path(own)), arguments]
    if folder != Path.cwd() / ".agentq":
        words.insert(0, f"AGENTQ_FOLDER={shlex.quote(str(folder))}")
    return " ".join(words)
