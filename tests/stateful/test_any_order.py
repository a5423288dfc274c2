"""In any order of actions, the ledger stays sound, and every workflow comes to its right end."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from agentq.ledger.db.session import Ledger
from tests.stateful.dead_lettering import DeadLettering
from tests.stateful.starting import Starting
from tests.stateful.sweeping import Sweeping
from tests.stateful.working import Working
from tests.support.ledgers import sqlite_file

EXAMPLES = int(os.environ.get("AGENTQ_TEST_EXAMPLES", "120"))


class Machine(Starting, Working, Sweeping, DeadLettering):
    """Callers, workers, caretakers and operators on one ledger."""


@pytest.mark.timeout(600 + 5 * EXAMPLES)  # a failure is made short first, for minutes
@pytest.mark.parametrize("database", ["sqlite"], indirect=True, scope="session")
def test_moves_in_any_order_keep_the_ledger_sound(ledger_template: str, tmp_path: Path) -> None:
    with closing(Ledger(sqlite_file(tmp_path))) as one:

        class Placed(Machine):
            template = ledger_template
            ledger = one

        run_state_machine_as_test(
            Placed,
            settings=settings(
                max_examples=EXAMPLES,
                stateful_step_count=45,
                deadline=None,
                database=None,  # a failure is reproduced by the line that it prints
                print_blob=True,
                phases=[Phase.generate, Phase.shrink],  # to explain a failure, it would trace every line
                suppress_health_check=list(HealthCheck),
            ),
        )
