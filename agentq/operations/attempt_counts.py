"""The number of attempts at a job, in the one form that every surface shows."""

from __future__ import annotations

from typing import Protocol


class Tried(Protocol):
    """The attempts of a job in the ledger; ``attempt`` is the number of the last one, which only grows."""

    @property
    def attempt(self) -> int: ...
    @property
    def max_attempts(self) -> int: ...
    @property
    def attempts_before(self) -> int: ...
    @property
    def uncounted(self) -> int: ...


def counted(job: Tried) -> int:
    """Return how many attempts count: neither those that cost nothing nor those before the last replay."""
    return job.attempt - job.attempts_before - job.uncounted


def attempts_summary(job: Tried) -> str:
    """Return how many attempts count, of how many that the job may have: ``3 of 5``.

    Those that cost nothing (a deferral, a worker that was stopped) and those before the last replay count neither
    here nor in the job's allowance, and are shown beside it: ``3 of 5, 2 more at no cost``.
    """
    parts = [f"{counted(job)} of {job.max_attempts - job.attempts_before - job.uncounted}"]
    parts += [f"{job.uncounted} more at no cost"] if job.uncounted else []
    parts += [f"{job.attempts_before} before the replay"] if job.attempts_before else []
    return ", ".join(parts)
