"""Jobs that this worker's code cannot run, such as those of another release: left for a worker whose code can."""

from __future__ import annotations

import logging

from agentq.exceptions import InvalidArguments
from agentq.ledger.records import Claim, Left
from agentq.outcomes import LONGEST_MESSAGE, LONGEST_REASON, Failure, Leave
from agentq.redaction import clean
from agentq.runtime import terms
from agentq.runtime.lease import hold
from agentq.states import OTHER_PARAMETERS, UNKNOWN_TASK

logger = logging.getLogger(__name__)

_FIRST_PAUSE, _GROWTH, _LONGEST_PAUSE = 2.0, 1.25, 30.0
"""Seconds until a job that was left is dispatched again, and by how much they grow each time."""


class UnknownTask(Exception):
    """A plain task that this worker does not have."""

    category, error_class = "definition", UNKNOWN_TASK

    def __init__(self, name: str) -> None:
        super().__init__(f"no task named {name!r} is registered in this worker; import its module there")
        self.error = self

    def waits_for(self, held: Claim) -> str:
        """What the job waits for."""
        return f"a worker that has the task {held.step!r}"

    def is_left(self, seen: Left, held: Claim, grace: float) -> bool:
        """Always: as a step that no worker knows, it is nobody's fault."""
        return True


class Misfit(Exception):
    """Arguments that the step, as this worker has it, does not take; *takes* is the digest of what it takes."""

    category, error_class = "invalid_arguments", OTHER_PARAMETERS

    def __init__(self, error: InvalidArguments | TypeError, takes: str) -> None:
        super().__init__(str(error))
        self.error = error
        self._takes = takes

    def waits_for(self, held: Claim) -> str:
        """What the job waits for."""
        why = str(self).removeprefix(f"step {held.step!r}").lstrip(": ")
        return f"a worker whose step {held.step!r} takes these arguments: {why}"

    def is_left(self, seen: Left, held: Claim, grace: float) -> bool:
        """Whether another release started it, less than *grace* seconds ago: else the arguments are wrong."""
        taken = terms.kept_parameters(seen.terms, held.step)
        return taken not in (None, self._takes) and seen.seconds < grace


Unfit = UnknownTask | Misfit


def leave(unfit: Unfit, held: Claim, seen: Left, grace: float) -> Leave | None:
    """Return the outcome of an attempt at a job that is left for another worker; None where it is not.

    Args:
        unfit: why this worker's code cannot run it.
        held: the attempt.
        seen: what ``attempts.left_before`` tells of the job.
        grace: seconds for which arguments that do not fit are left.
    """
    if not unfit.is_left(seen, held, grace):
        return None
    reason = clean(unfit.waits_for(held), LONGEST_REASON)
    if hold().is_first_to_tell(f"{unfit.error_class} {held.step}"):
        logger.warning("this worker leaves jobs of %r, first job %s, for %s", held.step, held.job_id, reason)
    pause = min(_FIRST_PAUSE * _GROWTH ** min(seen.times, 100), _LONGEST_PAUSE)
    failure = Failure(unfit.category, unfit.error_class, clean(str(unfit), LONGEST_MESSAGE))
    return Leave(failure, pause, reason)
