"""Early dispatch: messages that are published while the database still commits the hand-over.

A message takes about as long to reach a worker as a commit takes, so both are done at the same time. While the
database executes the statement of the hand-over, PostgreSQL's driver calls ``while_executing``, which publishes
the message of the one next job. Its claim then waits for the commit, by a lock in the database. If the message was
faster than even the statement, there is no lock yet: the worker tries again, after ``PAUSES``, for about an eighth
of a second. After the commit ``publish_rest`` publishes the other messages, and that of the next job once more
unless the commit came within half of that time. If there is no commit, the claim finds nothing. So an early
message may be useless, but it never replaces one that is needed.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from agentq.ledger.db.statement import WhileExecuting
from agentq.ledger.records import Dispatch
from agentq.runtime.dispatch.dispatcher import Dispatcher

PAUSES = (0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064)
"""Seconds between two tries of a worker whose early message finds a job that is not handed over yet."""
_SURELY_TRIED = sum(PAUSES) / 2
"""Seconds after an early message for which its worker surely still tries to claim the job."""


class EarlyDispatch:
    """The one early message of a hand-over, if there is one, and the messages after it."""

    def __init__(self, dispatcher: Dispatcher, dispatch: Dispatch | None) -> None:
        self._dispatcher = dispatcher
        self._dispatch = dispatch
        self._published_at: float | None = None

    @property
    def while_executing(self) -> WhileExecuting | None:
        """The function that runs while the database executes the statement."""
        return None if self._dispatch is None else self._publish

    def publish_rest(self, dispatches: Iterable[Dispatch]) -> None:
        """Publish the jobs that the commit made ready, without one whose early message is surely of use."""
        is_of_use = self._published_at is not None and time.monotonic() - self._published_at < _SURELY_TRIED
        early = (self._dispatch.job_id, self._dispatch.queue) if self._dispatch is not None and is_of_use else None
        self._dispatcher.publish(dispatch for dispatch in dispatches if (dispatch.job_id, dispatch.queue) != early)

    def _publish(self) -> None:
        if self._dispatch is not None and self._published_at is None:  # once, however often the statement is tried
            self._published_at = time.monotonic()
            self._dispatcher.publish([self._dispatch], early=True)
