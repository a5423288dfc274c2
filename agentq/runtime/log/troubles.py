"""Duties that do not go well: the log says so once, and once when they go well again."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

from agentq.exceptions import LedgerUnavailable
from agentq.runtime.log.outage import Outage

T = TypeVar("T")

logger = logging.getLogger(__name__)

CALLED = {
    "look_for_work": "looking for what is due",
    "dispatch_due": "sending messages for jobs that are due",
    "cancel_revoked": "cancelling jobs that were revoked",
    "account_for_jobs": "comparing the ledger's jobs of this worker with what it runs",
    "redispatch_lost": "sending lost messages again",
    "rescue_lost": "taking jobs from workers that are gone",
    "end_overdue": "ending jobs that are past their deadline",
    "fill_slots": "admitting jobs to free slots of limits",
    "find_unpaced": "finding limits whose jobs wait for a time",
    "pace": "admitting jobs of limits with a rate at their time",
    "enter_unawaited": "admitting jobs that another process left blocked",
    "let_in": "letting postponed workflows in",
    "take_back": "taking slots from jobs whose queue no worker consumes",
    "issue_dead_letters": "sending messages for new dead letters",
    "write_refused": "writing dead letters of refused messages",
    "pass_on": "leaving jobs of unknown steps to other workers",
    "start_ticks": "starting what schedules say is due",
    "apply_schedules": "writing the schedules that this worker's code declares",
    "_forget_gone": "forgetting workers that are gone",
    "_declare_ordered": "writing the limits of ordered queues",
    "_redeclare_limits": "writing the limits that this worker's code declares",
}
"""The names of the duties in the log."""


class Troubles:
    """The current troubles of one worker's caretaker.

    Args:
        renew: renews the worker's lease, and logs an outage where it cannot; returns whether it could.
    """

    def __init__(self, renew: Callable[[], bool]) -> None:
        self._renew = renew
        self._now: dict[str, Outage] = {}

    def attempt(self, duty: Callable[[], T]) -> T | None:
        """Do a duty; returns what it returns, and None where it raised: the next round may succeed."""
        name = CALLED.get(duty.__name__, "a duty of its own upkeep")
        try:
            found = duty()
        except Exception as error:  # whatever it is: no other thread does this
            logger.debug("%s raised", name, exc_info=True)
            if not (isinstance(error, LedgerUnavailable) and not self._renew()):
                self._now.setdefault(name, _trouble(name)).begin(f"{type(error).__name__}: {error}")
            return None
        if name in self._now:
            self._now.pop(name).end()
        return found


def _trouble(what: str) -> Outage:
    begins = f"{what} does not go well, and is tried again until it does: %s"
    return Outage(logger, begins, f"{what} goes well again, after %.0f s")
