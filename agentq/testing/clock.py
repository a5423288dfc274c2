"""A clock that a test can move: the one of the testing ledger's database."""

from __future__ import annotations

import sqlite3
from typing import Any


class Clock:
    """The real time, and as far ahead of it as it was moved.

    All times that decide anything are the database's, and SQLite's come from one function of SQL. On the
    connections of a testing ledger that function is this clock, so nothing else needs to know.
    """

    def __init__(self) -> None:
        self._ahead = 0.0
        self._sqlite = sqlite3.connect(":memory:", check_same_thread=False)

    def install(self, connection: sqlite3.Connection) -> None:
        """Let the statements of a connection read this clock."""
        connection.create_function("strftime", -1, self._strftime)

    def forward(self, seconds: float) -> None:
        """Move it ahead by a number of seconds."""
        self._ahead += seconds

    async def aforward(self, seconds: float) -> None:
        """Move it ahead, from an event loop."""
        self.forward(seconds)

    def close(self) -> None:
        """Stop it."""
        self._sqlite.close()

    def _strftime(self, form: str, time: Any = "now", *modifiers: Any) -> str | None:
        if time == "now":
            modifiers = (f"{self._ahead:+.3f} seconds", *modifiers)
        values = (form, time, *modifiers)
        statement = f"SELECT strftime({', '.join('?' * len(values))})"
        text: str | None = self._sqlite.execute(statement, values).fetchone()[0]
        return text
