"""Jobs that this worker's code cannot run, such as those of another release: left for a worker whose code can."""

from __future__ import annotations

import logging

from celery.exceptions import Ignore

from agentq.exceptions import InvalidArguments
from agentq.ledger.knowledge import Live
from agentq.ledger.records import Claim, Left
from agentq.outcomes import LONGEST_MESSAGE, LONGEST_REASON, Failure, Leave
from agentq.redaction import clean
from agentq.runtime.attempt.lease import current_lease
from agentq.states import OTHER_PARAMETERS, UNKNOWN_TASK

logger = logging.getLogger(__name__)

_FIRST_PAUSE, _PAUSE_FACTOR, _LONGEST_PAUSE = 2.0, 1.25, 30.0
"""Seconds until a job that no live worker can run is dispatched again, and by how much they grow each time."""


class LeftForLive(Ignore):
    """The request to the worker's main process to send the job on: a live worker takes these parameters."""

    def __init__(self, takes: str) -> None:
        super().__init__(takes)
        self.takes = takes


class UnknownTask(Exception):
    """A plain task that this worker does not have."""

    category, error_class = "definition", UNKNOWN_TASK

    def __init__(self, name: str) -> None:
        super().__init__(f"no task named {name!r} is registered in this worker; import its module there")
        self.error = self

    def waits_for(self, claimed: Claim) -> str:
        """The worker that the job waits for."""
        return f"a worker that has the task {claimed.step!r}"

    def may_fit_elsewhere(self, seen: Left) -> bool:
        """Always: a step that no worker knows is no fault of the job's."""
        return True

    def is_in_time(self, seen: Left, grace: float) -> bool:
        """Always: it may wait without limit."""
        return True


class Misfit(Exception):
    """Arguments that the step or task, as this worker has it, does not take; *takes* is its own digest."""

    category, error_class = "invalid_arguments", OTHER_PARAMETERS

    def __init__(self, error: InvalidArguments | TypeError, takes: str) -> None:
        super().__init__(str(error))
        self.error = error
        self._takes = takes

    def waits_for(self, claimed: Claim) -> str:
        """The worker that the job waits for."""
        why = str(self).removeprefix(f"step {claimed.step!r}").lstrip(": ")
        return f"a worker whose {claimed.kind} {claimed.step!r} takes these arguments: {why}"

    def may_fit_elsewhere(self, seen: Left) -> bool:
        """True where another release started it: else the arguments are wrong."""
        return seen.need.takes not in ("", self._takes)

    def is_in_time(self, seen: Left, grace: float) -> bool:
        """True where it was first left less than *grace* seconds ago."""
        return seen.seconds < grace


Unfit = UnknownTask | Misfit


def leave(unfit: Unfit, claimed: Claim, seen: Left, live: Live, grace: float) -> Leave | None:
    """Return the outcome of an attempt at a job that is left for another worker; None where it is not.

    Args:
        unfit: why this worker's code cannot run it.
        claimed: the attempt.
        seen: the history of the job in ``attempts.left_before``.
        live: the live workers: where one can run it, that one is to have it now, however long it takes.
        grace: seconds for which arguments that do not fit are left otherwise.
    """
    is_for_live = live.runs(seen.need)
    if not unfit.may_fit_elsewhere(seen) or not (is_for_live or unfit.is_in_time(seen, grace)):
        return None
    reason = clean(unfit.waits_for(claimed), LONGEST_REASON)
    if current_lease().is_first_to_log(f"{unfit.error_class} {claimed.step}"):
        logger.warning("this worker leaves jobs of %r, first job %s, for %s", claimed.step, claimed.job_id, reason)
    pause = 0.0 if is_for_live else min(_FIRST_PAUSE * _PAUSE_FACTOR ** min(seen.times, 100), _LONGEST_PAUSE)
    failure = Failure(unfit.category, unfit.error_class, clean(str(unfit), LONGEST_MESSAGE))
    return Leave(failure, pause, reason, seen.need.takes)
