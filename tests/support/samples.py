"""The part of the long tests that a run takes: a sample, or everything."""

from __future__ import annotations

import os
from datetime import UTC, datetime

SAMPLE = "AGENTQ_SAMPLE"
EVERYTHING = "all"


def wanted_sample() -> str:
    """Return the number of a sample that the environment names, or the day's; or EVERYTHING."""
    return os.environ.get(SAMPLE) or str(datetime.now(UTC).toordinal())
