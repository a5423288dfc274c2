"""The ledger's clock, as far as a process can tell without asking."""

from __future__ import annotations

import time
from datetime import datetime, timedelta


class Clock:
    """Tells a time that is never ahead of the database's: what that told last, and what has passed since.

    Nothing is decided by it. It dates bells that are rung before the database could.
    """

    def __init__(self) -> None:
        self._told: tuple[datetime, float] | None = None

    def note(self, moment: datetime) -> None:
        """Note what the database's clock has just told."""
        self._told = moment, time.monotonic()

    def now(self) -> datetime | None:
        """Return the time; None where the database has told none yet."""
        if self._told is None:
            return None
        moment, at = self._told
        return moment + timedelta(seconds=time.monotonic() - at)
