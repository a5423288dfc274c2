"""A worker without processes on each ledger, and what it brings about."""

from __future__ import annotations

import pytest

from agentq.ledger.db.session import Ledger
from tests.support.player import Player


@pytest.fixture
def player(ledger: Ledger) -> Player:
    """A worker without processes, with a long lease."""
    return Player(ledger)
