"""The points that a sweep crashes at, where it does not at all of them, and how many of these crashes are real."""

from __future__ import annotations

import random

SAMPLES = 20
"""The number of samples that share all points."""
_MOST_REAL = 5


def sample(count: int, number: int) -> list[int]:
    """Return a twentieth of *count* points; the samples of twenty numbers in a row have each point once.

    They are taken by chance, so that no period in the run decides which ones come together.
    """
    shuffled = random.Random(0).sample(range(count), count)
    return sorted(shuffled[number % SAMPLES :: SAMPLES])


def real_crashes(count: int) -> int:
    """Return at how many of *count* points, which are taken by chance, a run really crashes."""
    return min(_MOST_REAL, count // 20 + 1, count)
