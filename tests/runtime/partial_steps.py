"""Steps for fan-ins with missing members; a worker imports them with ``-I tests.runtime.partial_steps``."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

from agentq import Context, DeadLetterNow, Retry, step
from tests.support import gates


@step
def part(ctx: Context, name: str, how: str, folder: str) -> str:
    """Return the name, fail for good, ask for a later try, die with its process, or hang until cancelled."""
    if Path(folder, "fixed").exists():
        return name
    if how == "fail":
        raise DeadLetterNow(f"{name} is beyond repair")
    if how == "later":
        raise Retry(after=600)
    if how == "die":
        gates.note(folder, "dying")
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "hang":
        gates.note(folder, "hanging")
        while not ctx.cancelled:
            time.sleep(0.05)
        gates.note(folder, "saw it")
    return name


@step
def report(ctx: Context, parts: list[str]) -> dict[str, Any]:
    missing = [[part.position, part.step.rpartition(".")[2], part.category, part.message] for part in ctx.missing]
    return {"there": parts, "missing": missing}
