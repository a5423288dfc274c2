"""A handler of dead letters that leaves a trace; a worker imports it with ``-I tests.runtime.letter_handler``."""

from __future__ import annotations

import os

from agentq import on_dead_letter
from agentq.operations.schemas import DeadLetter
from tests.support import gates


@on_dead_letter
def report(letter: DeadLetter) -> None:
    gates.note(os.environ["AGENTQ_TEST_FOLDER"], f"{letter.error_category} of {letter.step}")
