"""A player on each ledger."""

from __future__ import annotations

import pytest

from agentq.ledger.db.session import Ledger
from tests.support.fake_worker import FakeWorker


@pytest.fixture
def fake(ledger: Ledger) -> FakeWorker:
    """A worker without processes, with a long lease."""
    return FakeWorker(ledger)
