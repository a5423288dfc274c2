"""Steps of limits that several workers share, which note each body; ``-I tests.faults.worker.pacer_steps``."""

from __future__ import annotations

from agentq import Concurrency, Rate, step
from tests.support import gates

STARTS, PER = 6, 1.0
"""The rate of ``call``."""
GAP = PER / (STARTS - 1)
"""Seconds from one start to the next."""


@step(limits=[Rate("shared-rate", limit=STARTS, per=PER)])
def call(folder: str) -> None:
    """Note that it runs."""
    gates.note(folder, "call")


@step(limits=[Concurrency("only-slot", limit=1)], retries=0)
def hold_the_slot(folder: str, name: str) -> str:
    """Return once the gate *name* is open."""
    gates.pass_gate(folder, name)
    return name
