"""The sweep can fail: an engine that is broken in one place is found out."""

from __future__ import annotations

import re

import pytest

from tests.sweep.broken import WAYS
from tests.sweep.command import sweep


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("way", WAYS)
def test_a_broken_engine_is_found_out(way: str) -> None:
    scenario = "writers" if way == "complete_before" else "reference"
    done = sweep("--ledger", "sqlite", "--scenario", scenario, "--at", "after commit", "--stop", "--broken", way)
    assert done.returncode == 1, done.stdout + done.stderr
    where = r"attempt\.(AttemptRunner\._record|_twice_if_late)"
    assert re.match(rf"point \d+, messages lost: after commit .*{where}", done.stdout), done.stdout
