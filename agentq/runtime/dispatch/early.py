"""Bells that are rung early: while the database still commits what they are for.

A message takes about as long to reach a worker as a commit takes. Who answers one waits for the commit, by a lock
in the database; and where the message outran even the statement, for a moment. Who rings knows how long that
moment is, and rings again where the commit took longer. So an early bell may come in vain, but never in place of
one that is needed.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from agentq.ledger.db.statement import Meanwhile
from agentq.ledger.records import Bell
from agentq.runtime.dispatch.dispatcher import Dispatcher

PAUSES = (0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064)
"""Seconds between two looks of a worker whose early bell finds a job that is not handed over yet."""
_SURELY_AWAITED = sum(PAUSES) / 2


class EarlyRing:
    """The one early ringing of a bell, if there is one, and what is to be rung after it."""

    def __init__(self, dispatcher: Dispatcher, bell: Bell | None) -> None:
        self._dispatcher = dispatcher
        self._bell = bell
        self._rung_at: float | None = None

    @property
    def meanwhile(self) -> Meanwhile | None:
        """What the database is to be given to do meanwhile."""
        return None if self._bell is None else self._ring

    def ring_rest(self, bells: Iterable[Bell]) -> None:
        """Ring what the commit made ready and was not rung for, or so early that nobody may wait any more."""
        is_answered = self._rung_at is not None and time.monotonic() - self._rung_at < _SURELY_AWAITED
        answered = (self._bell.job_id, self._bell.queue) if self._bell is not None and is_answered else None
        self._dispatcher.ring(bell for bell in bells if (bell.job_id, bell.queue) != answered)

    def _ring(self) -> None:
        if self._bell is not None and self._rung_at is None:  # once, however often the statement is tried
            self._rung_at = time.monotonic()
            self._dispatcher.ring([self._bell], early=True)
