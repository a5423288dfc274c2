"""Something that goes wrong for a while: one line in the log when it begins, and one when it is over."""

from __future__ import annotations

import logging
import time

from billiard.process import current_process


class Outage:
    """The state of an outage, as this process sees it.

    Args:
        logger: the logger of the outage.
        begins: the line when it begins, a format with the reason; a warning.
        ends: the line when it is over, a format with how long it took, in seconds.
        is_reported_by_parent: whether the main process of a worker logs it, so that those of its pool need not.
    """

    def __init__(
        self, logger: logging.Logger, begins: str, ends: str, *, is_reported_by_parent: bool = False
    ) -> None:
        self._logger = logger
        self._begins, self._ends = begins, ends
        self._is_reported_by_parent = is_reported_by_parent
        self._now: dict[str, float] = {}  # changed by one step of the interpreter: a lock would not survive a fork

    def begin(self, reason: object) -> None:
        """Note that it is wrong."""
        now = time.monotonic()
        if self._now.setdefault("since", now) is now:
            self._report(logging.WARNING, self._begins, reason)

    def end(self) -> None:
        """Note that it goes well."""
        since = self._now.pop("since", None)
        if since is not None:
            self._report(logging.INFO, self._ends, time.monotonic() - since)

    def _report(self, level: int, line: str, value: object) -> None:
        self._logger.log(unless_of_pool(level) if self._is_reported_by_parent else level, line, value)


def unless_of_pool(level: int) -> int:
    """Return *level*, but DEBUG in a process of a prefork pool: the worker's main process logs the same."""
    return level if current_process().name == "MainProcess" else logging.DEBUG
