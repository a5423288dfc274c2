"""The points that a sweep crashes at: all of them, one per state, or one of twenty samples."""

from __future__ import annotations

import random
from collections.abc import Iterator

from tests.sweep.points import AFTER, BEFORE

SAMPLES = 20
"""The number of samples that share all points."""


def sample(count: int, number: int) -> list[int]:
    """Return a twentieth of *count* points; the samples of twenty numbers in a row have each point once.

    They are taken by chance, so that no period in the run decides which ones come together.
    """
    shuffled = random.Random(0).sample(range(count), count)
    return sorted(shuffled[number % SAMPLES :: SAMPLES])


def one_per_state(names: list[str], half: int = 0) -> Iterator[int]:
    """Of each point after something and the point before the next thing, yield one, taken by chance.

    Of two halves in a row, the one has the points that the other leaves out.
    """
    chosen, point = random.Random(0), 0
    while point < len(names):
        is_pair = names[point].startswith(AFTER) and names[point + 1 :] and names[point + 1].startswith(BEFORE)
        yield point + (chosen.randrange(2) ^ half % 2) if is_pair else point
        point += 2 if is_pair else 1
