"""A clock that stands still until it is put forward."""

from __future__ import annotations

import time
from typing import Any


class Clock:
    """A module's ``time``, whose ``monotonic`` stands still until it is put forward."""

    def __init__(self) -> None:
        self._now = time.monotonic()

    def monotonic(self) -> float:
        return self._now

    def put_forward(self, seconds: float) -> None:
        """Let *seconds* pass at once."""
        self._now += seconds

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)
