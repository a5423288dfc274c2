"""The pacer: a thread of the caretaker that admits jobs when a rate, tokens or a cooldown lets them go.

Each limit has one pacer at a time, which keeps it by a lease on its row. It sleeps until a job can be admitted;
with no such limit it sleeps until it is given one. Where it dies, another caretaker takes its place; until then
all of them admit the jobs when they look each second.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable

_SHORTEST, _LONGEST = 0.02, 1.0
"""Seconds for which a limit is left alone: after a job was admitted, and after many times that none was."""
_OFTEN = 3
"""Looks in vain after which the pauses grow."""


class Pacer:
    """The limits that this caretaker paces.

    Args:
        pace: admits the jobs of a limit that can start soon. It is given the limit, and the seconds after which it
            is called again at the earliest, if it admits none. It returns how many it admitted, and the seconds
            until the next one may be; None where this caretaker has nothing more to do there.
    """

    def __init__(self, pace: Callable[[str, float], tuple[int, float] | None]) -> None:
        self._pace = pace
        self._due: dict[str, float] = {}
        self._in_vain: dict[str, int] = {}
        self._changed = threading.Event()

    def add(self, limits: Iterable[str]) -> None:
        """Pace these limits too, from now on."""
        for limit in limits:
            self._due.setdefault(limit, 0.0)
        self._changed.set()

    def run(self, is_ending: Callable[[], bool]) -> None:
        """Pace until it *is_ending*; ``wake`` lets it see that."""
        while not is_ending():
            due = list(self._due.items())
            now = time.monotonic()
            self._changed.wait(min((at - now for _, at in due), default=None) if due else None)
            self._changed.clear()
            for limit, at in list(self._due.items()):
                if at <= time.monotonic() and not is_ending():
                    self._look(limit)

    def wake(self) -> None:
        """Let the thread look whether it is to end."""
        self._changed.set()

    def _look(self, limit: str) -> None:
        vain = self._in_vain.get(limit, 0) + 1
        found = self._pace(limit, min(_LONGEST, _SHORTEST * 2.0 ** max(0, min(10, vain) - _OFTEN)))
        if found is None:
            self._due.pop(limit, None)
            self._in_vain.pop(limit, None)
            return
        admitted, seconds = found
        self._in_vain[limit] = 0 if admitted else vain
        self._due[limit] = time.monotonic() + max(seconds, _SHORTEST)
