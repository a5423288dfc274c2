"""The statements that connections to SQLite run, noted by SQLite itself, in a file."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import event


def note_statements(target: Any, path: Path) -> None:
    """Let connections of *target*, an engine or all pools, note in a file what they run from now on."""

    def note(statement: str) -> None:
        with path.open("ab", buffering=0) as file:  # one write: appended as a whole, however long the statement is
            file.write(f"{json.dumps([time.monotonic(), statement])}\n".encode())

    def trace(connection: sqlite3.Connection, record: object) -> None:
        connection.set_trace_callback(note)

    event.listen(target, "connect", trace)


def noted(path: Path) -> Iterator[tuple[float, str]]:
    """Give when each statement ran, by the machine's clock, and the statement."""
    for line in path.read_text().splitlines():
        time, statement = json.loads(line)
        yield time, statement
