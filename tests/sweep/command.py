"""The sweep as a command, and what it must say; it is one of its own since it forks for each run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.faults import Fault, Phase, covers
from tests.support.forked import run
from tests.support.samples import EVERYTHING, SAMPLE, wanted_sample
from tests.sweep.choice import SAMPLES, real_crashes

_ROOT = Path(__file__).parents[2]
_LOADED = ("tests.sweep.__main__",)
_LAST_LINE = re.compile(
    r": (?P<chosen>\d+) of (?P<points>\d+) points, \d+ recoveries, real crashes at (?P<real>\d+(, \d+)*), "
)

Say = Callable[[str], None]

any_phase = covers(
    Fault.KILL_WORKER,
    *(Phase.START, Phase.DISPATCH, Phase.CLAIM, Phase.BODY, Phase.EFFECT, Phase.COMPLETION),
    *(Phase.HAND_OVER, Phase.ACKNOWLEDGE, Phase.FAN_OUT, Phase.FAN_IN, Phase.RETRY, Phase.CANCEL),
    *(Phase.DEAD_LETTER, Phase.REPLAY, Phase.SWEEP),
)
"""The phases that the points of the reference workflow cover."""


@pytest.fixture
def say(capfd: pytest.CaptureFixture[str]) -> Say:
    """Print a line where people see it, also when the test passes and when it runs in a process of xdist."""

    def say(line: str) -> None:
        with capfd.disabled():
            print(f"\n{line}", file=sys.stderr, flush=True)

    return say


def sweep(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command."""
    return run(["-m", "tests.sweep", *arguments], loaded=_LOADED, environment=os.environ, folder=_ROOT)


_LEAST = {
    "reference": 300,
    "parts": 100,
    "lacking": 300,
    "writers": 120,
    "moves": 20,
    "aside": 80,
    "limits": 200,
    "rates": 100,
    "postponed": 60,
    "naming": 100,
    "ticks": 60,
    "sleeping": 100,
}
every_scenario = pytest.mark.parametrize(("scenario", "least"), _LEAST.items())
"""With the least number of points that it must have."""


def arguments_for(scenario: str, wanted: str) -> list[str]:
    """Take each point of the reference and a twentieth of the others' points; with ``all``, each point of each."""
    return [] if scenario == "reference" or wanted == EVERYTHING else ["--sample", wanted]


def check_points(ledger: str, scenario: str, least: int, say: Say) -> None:
    """Crash at the points that are to be tested today; print how many of how many, and the sample's number."""
    wanted = wanted_sample()
    chosen = arguments_for(scenario, wanted)
    done = sweep("--ledger", ledger, "--scenario", scenario, *chosen)
    *found, last = done.stdout.splitlines() or [""]
    which = f" ({SAMPLE}={wanted})"
    say(f"crash sweep on {last}{which}")
    assert done.returncode == 0, "\n".join([*found, last, which, done.stderr])
    counted = _LAST_LINE.search(last)
    assert counted is not None, last
    points, crashed = int(counted["points"]), int(counted["chosen"])
    assert points > least, "the sweep lost points: does its instrumentation still fit?"
    assert crashed >= points // (SAMPLES if chosen else 1)
    assert len(counted["real"].split(", ")) == real_crashes(crashed)
