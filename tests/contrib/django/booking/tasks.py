"""A step whose effect must be there once."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from reports.models import Report

from agentq import Context, step


@step
def book(ctx: Context, folder: str) -> int:
    """Write a row with the completion; the first time, its process is killed after it wrote, before the commit."""

    def write(session: object) -> None:
        Report.objects.create(topic="booked")
        died = Path(folder, "died")
        if not died.exists():
            died.touch()
            os.kill(os.getpid(), signal.SIGKILL)

    ctx.on_complete(write)
    return ctx.attempt
