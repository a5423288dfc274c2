"""The sweep as a command, and what it must say; it is one of its own since it forks for each run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.faults import Fault, Moment, covers

_ROOT = Path(__file__).parents[2]
_LAST_LINE = re.compile(r": (?P<points>\d+) points, (?P<crashes>\d+) crashes, ")

Say = Callable[[str], None]

any_moment = covers(
    Fault.KILL_WORKER,
    *(Moment.START, Moment.DISPATCH, Moment.CLAIM, Moment.BODY, Moment.EFFECT, Moment.COMPLETION),
    *(Moment.HAND_OVER, Moment.ACKNOWLEDGE, Moment.FAN_OUT, Moment.FAN_IN, Moment.RETRY, Moment.CANCEL),
    *(Moment.DEAD_LETTER, Moment.REPLAY, Moment.SWEEP),
)
"""What the points of the reference workflow cover."""


@pytest.fixture
def say(capfd: pytest.CaptureFixture[str]) -> Say:
    """Print a line where people see it, also when the test passes and when it runs in a process of xdist."""

    def say(line: str) -> None:
        with capfd.disabled():
            print(f"\n{line}", file=sys.stderr, flush=True)

    return say


def sweep(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command."""
    command = [sys.executable, "-m", "tests.sweep", *arguments]
    return subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=False)


_LEAST = {"reference": 300, "parts": 100, "lacking": 300, "writers": 120, "moves": 20}
every_scenario = pytest.mark.parametrize(("scenario", "least"), _LEAST.items())
"""With the least number of points that it must have."""
_AT_EACH = {"reference"} if os.environ.get("CI") else set[str]()


def check_every_point(ledger: str, scenario: str, least: int, say: Say) -> None:
    """Crash at every point there is; only at one of two that leave the same state where that is enough."""
    done = sweep("--ledger", ledger, "--scenario", scenario, *(["--each"] if scenario in _AT_EACH else []))
    *found, last = done.stdout.splitlines() or [""]
    say(f"crash sweep on {last}")
    assert done.returncode == 0, "\n".join([*found, last, done.stderr])
    counted = _LAST_LINE.search(last)
    assert counted is not None, last
    points, crashes = int(counted["points"]), int(counted["crashes"])
    assert points > least, "the sweep lost points: does its instrumentation still fit?"
    assert crashes == points if scenario in _AT_EACH else crashes >= points / 2
