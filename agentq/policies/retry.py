"""When a failed attempt is tried again: a pure function of the attempt and the error."""

from __future__ import annotations

import random
from dataclasses import dataclass

from agentq.outcomes import Fail, Failure, RetryLater


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential pauses between attempts, bounded, with full jitter.

    The pause after attempt *n* is a random time between half of and all of ``first * factor ** (n - 1)``
    seconds, and never over ``longest`` seconds. Jitter keeps jobs that failed together from coming back
    together (the reasoning: Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015).
    """

    first: float = 1.0
    factor: float = 2.0
    longest: float = 600.0

    def after(self, attempt: int) -> float:
        """Return the seconds to wait after attempt number *attempt* (from 1)."""
        pause = min(self.first * self.factor ** min(attempt - 1, 60), self.longest)
        return random.uniform(pause / 2, pause)


@dataclass(frozen=True, slots=True)
class AfterLoss:
    """Pauses after an attempt whose worker was lost: none at first, since the step is rarely to blame."""

    backoff: Backoff = Backoff()

    def after(self, attempt: int) -> float:
        """Return the seconds to wait after the lost attempt number *attempt* (from 1)."""
        return 0.0 if attempt == 1 else self.backoff.after(attempt - 1)


def judge(
    failure: Failure, attempt: int, max_attempts: int, backoff: Backoff, *, after: float | None = None
) -> RetryLater | Fail:
    """Return what becomes of a job whose attempt failed.

    Args:
        failure: the error, as plain data.
        attempt: the number of the attempt that failed, from 1.
        max_attempts: how many attempts the job may have.
        backoff: the pauses between them.
        after: seconds to wait instead, where the step itself asked for a time.
    """
    if attempt >= max_attempts or failure.category in NEVER_RETRIED:
        return Fail(failure)
    return RetryLater(failure, backoff.after(attempt) if after is None else max(0.0, after))


NEVER_RETRIED = frozenset({"invalid_arguments", "invalid_result", "definition"})
"""What cannot come right by itself: the same data meets the same code again."""
