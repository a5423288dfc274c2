"""Waiting for something that another process does: look until a deadline, never sleep and hope."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.001, 0.05
_LATE = 0.05
"""The most that a look comes late, as a part of the wait: looks take the processor from what they wait for."""


def eventually(look: Callable[[], T], seconds: float = 10, *, what: str = "") -> T:
    """Return what *look* returns as soon as it is true.

    Raises AssertionError with the last thing seen after *seconds*.
    """
    began_at = time.monotonic()
    while True:
        seen = look()
        if seen:
            return seen
        waited = time.monotonic() - began_at
        if waited > seconds:
            raise AssertionError(f"not within {seconds:g} s: {what or look}; last seen: {seen!r}")
        time.sleep(pause_after(waited))


def pause_after(waited: float) -> float:
    """Return the seconds until the next look, after *waited* seconds."""
    return min(max(waited * _LATE, _SHORTEST_PAUSE), _LONGEST_PAUSE)
