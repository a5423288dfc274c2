"""Waiting for something that another process does: look until a deadline, never sleep and hope."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(look: Callable[[], T], seconds: float = 10, *, what: str = "") -> T:
    """Return what *look* returns as soon as it is true.

    Raises AssertionError with the last thing seen after *seconds*.
    """
    deadline, pause = time.monotonic() + seconds, 0.001
    while True:
        seen = look()
        if seen:
            return seen
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what or look}; last seen: {seen!r}")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.01)
