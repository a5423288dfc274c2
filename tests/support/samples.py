"""The part of the long tests that a run takes: a sample, or everything."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

SAMPLE = "AGENTQ_SAMPLE"
EVERYTHING = "all"
QUARTERS = 4
"""The number of samples that share the tests marked ``long``."""


def wanted_sample() -> str:
    """Return the number of a sample that the environment names, or the day's; or EVERYTHING."""
    return os.environ.get(SAMPLE) or str(datetime.now(UTC).toordinal())


def left_out(items: Sequence[pytest.Item]) -> list[pytest.Item]:
    """Return the long ones of *items* that are for another sample; four numbers in a row have each once."""
    wanted = wanted_sample()
    if wanted == EVERYTHING:
        return []
    long = sorted((item for item in items if item.get_closest_marker("long")), key=lambda item: item.nodeid)
    return [item for place, item in enumerate(long) if place % QUARTERS != int(wanted) % QUARTERS]
