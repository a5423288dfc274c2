"""In any order of actions, the ledger stays sound, and every workflow comes to its right end."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.stateful.base import explore
from tests.stateful.dead_lettering import DeadLettering
from tests.stateful.postponing import Postponing
from tests.stateful.starting import Starting
from tests.stateful.sweeping import Sweeping
from tests.stateful.working import Working

EXAMPLES = int(os.environ.get("AGENTQ_TEST_EXAMPLES", "22"))


class Machine(Starting, Working, Sweeping, DeadLettering, Postponing):
    """Callers, workers, caretakers and operators on one ledger."""


@pytest.mark.timeout(600 + 5 * EXAMPLES)  # a failure is made short first, for minutes
@pytest.mark.parametrize("database", ["sqlite"], indirect=True, scope="session")
def test_moves_in_any_order_keep_the_ledger_sound(ledger_template: str, tmp_path: Path) -> None:
    explore(Machine, ledger_template, tmp_path, runs=EXAMPLES, steps=45)
