"""A step that reports its progress, in a worker that stops in the middle of the write.

Imported with ``-I tests.faults.worker.reporting_steps``.
"""

from __future__ import annotations

import os
from typing import Any

from agentq import Context, step
from agentq.ledger import moves
from agentq.steps.events import PROGRESS
from tests.support import gates

HELD = "AGENTQ_TEST_HELD"
"""Names the folder of the gate ``recording``, where the write of a progress stops."""
WHEN = "AGENTQ_TEST_WHEN"
"""Says where: ``before`` its statement or ``after`` it."""


@step(retry="quick")
def report(ctx: Context, folder: str) -> int:
    """Report progress before the gate ``body`` and after it; returns the attempt's number."""
    ctx.emit("begun", ctx.attempt)
    ctx.progress(1, 2)
    gates.pass_gate(folder, "body")
    ctx.progress(2, 2)
    ctx.emit("ended", ctx.attempt)
    return ctx.attempt


def _hold(folder: str, when: str) -> None:
    module: Any = moves
    record_event = moves.record_event

    def record_and_wait(connection: Any, job_id: Any, attempt: int, kind: str, data: str) -> int | None:
        if kind == PROGRESS and when == "before":
            gates.pass_gate(folder, "recording")
        number = record_event(connection, job_id, attempt, kind, data)
        if kind == PROGRESS and when == "after":
            gates.pass_gate(folder, "recording")
        return number

    module.record_event = record_and_wait


if HELD in os.environ:
    _hold(os.environ[HELD], os.environ[WHEN])
