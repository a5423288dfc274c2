"""The sweep can fail: an engine that is broken in one place is found out."""

from __future__ import annotations

import re

import pytest

from tests.sweep.broken import WAYS
from tests.sweep.command import sweep


@pytest.mark.timeout(600)
@pytest.mark.parametrize("way", WAYS)
def test_a_broken_engine_is_found_out(way: str) -> None:
    done = sweep(
        "--ledger", "sqlite", "--scenario", "reference", "--at", "after commit", "--stop", "--broken", way
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert re.match(r"point \d+, messages lost: after commit .*executor\.Attempt\._record", done.stdout), (
        done.stdout
    )
