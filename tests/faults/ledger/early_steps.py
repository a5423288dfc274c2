"""A step whose completion the server does not come to; a worker imports it with ``-I``."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from celery import current_app
from sqlalchemy import text

from agentq import step

STALLED = "stalled"
"""The file that has the id of the server's process that stands still."""


@step
def stall_ledger(value: int, folder: str) -> int:
    """Stop the server's process that this process's next statement goes to."""
    ledger = current_app.agentq.ledger
    served = ledger.read_statement(lambda connection: connection.scalar(text("SELECT pg_backend_pid()")))
    Path(folder, STALLED).write_text(str(served))
    os.kill(served, signal.SIGSTOP)
    return value
