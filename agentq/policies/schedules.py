"""The lengths of pauses: schedules as data. Randomness comes from outside, as a number from 0 to 1."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from agentq.policies.checks import a_count, a_number, refusal

Random = Callable[[], float]
"""Returns a number from 0 up to 1, as ``random.random`` does."""

LONGEST = 30 * 86_400.0
"""Seconds that no single pause is longer than."""


@dataclass(frozen=True, slots=True)
class Exponential:
    """Pauses that grow, with full jitter: a random time up to ``first * factor ** (n - 1)`` seconds.

    Full jitter keeps jobs that failed together from coming back together (the reasoning: Brooker, "Exponential
    Backoff And Jitter", AWS Architecture Blog, 2015). After the first ``at_once`` attempts there is no pause.
    """

    first: float = 1.0
    factor: float = 2.0
    longest: float = 600.0
    at_once: int = 0

    def __post_init__(self) -> None:
        a_number("the first pause of an exponential schedule", self.first, most=LONGEST)
        a_number("the factor of an exponential schedule", self.factor, least=1.0, most=100.0)
        a_number("the longest pause of an exponential schedule", self.longest, most=LONGEST)
        a_count("at_once of an exponential schedule", self.at_once)

    def pause(self, attempt: int, random: Random) -> float:
        """Return the seconds to pause after attempt number *attempt* (from 1)."""
        step = attempt - 1 - self.at_once
        if step < 0:
            return 0.0
        return random() * min(self.first * self.factor ** min(step, 60), self.longest)


@dataclass(frozen=True, slots=True)
class Ladder:
    """Pauses that are written down, the last one for all that follow; each longer by a random share of itself."""

    pauses: tuple[float, ...] = (10.0, 30.0, 120.0, 600.0)
    spread: float = 0.5

    def __post_init__(self) -> None:
        if not isinstance(self.pauses, (list, tuple)) or not self.pauses:
            raise refusal(f"the pauses of a ladder are {self.pauses!r}, must be at least one number of seconds")
        pauses = tuple(a_number("a pause of a ladder", pause, most=LONGEST) for pause in self.pauses)
        object.__setattr__(self, "pauses", pauses)
        a_number("the spread of a ladder", self.spread, most=10.0)

    def pause(self, attempt: int, random: Random) -> float:
        """Return the seconds to pause after attempt number *attempt* (from 1)."""
        return self.pauses[min(attempt, len(self.pauses)) - 1] * (1 + self.spread * random())


@dataclass(frozen=True, slots=True)
class Fixed:
    """The same pause each time, longer by a random share of itself."""

    seconds: float
    spread: float = 0.0

    def __post_init__(self) -> None:
        a_number("the seconds of a fixed schedule", self.seconds, most=LONGEST)
        a_number("the spread of a fixed schedule", self.spread, most=10.0)

    def pause(self, attempt: int, random: Random) -> float:
        """Return the seconds to pause, whatever the attempt."""
        return self.seconds * (1 + self.spread * random())


Schedule = Exponential | Ladder | Fixed
