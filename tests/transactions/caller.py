"""A caller that starts a workflow in its own transaction, and is killed when that is committed.

Run as a module: ``python -m tests.transactions.caller BROKER QUEUE LEDGER FOLDER STEP``.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from celery import Celery
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from agentq import AgentQ
from agentq.ledger.db.session import Ledger
from agentq.ledger.db.urls import parse_url
from agentq.runtime.dispatch.dispatcher import Dispatcher
from tests.support import Broker
from tests.support.steps import count
from tests.transactions.steps import Payment

KEY = "killed"


def start_and_die(broker: Broker, ledger_url: str, folder: Path, step: Any = count) -> int:
    """Be that caller of a *step* in a process of its own; returns its exit code."""
    command = [sys.executable, "-m", __name__, broker.url, broker.queue, ledger_url, str(folder), step.name]
    return subprocess.run(command, cwd=Path(__file__).parents[2], timeout=60, check=False).returncode


def _main(broker: str, queue: str, ledger_url: str, folder: str, step: str) -> None:
    app = Celery("caller", broker=broker)
    app.conf.task_default_queue = queue
    agentq = AgentQ(app, ledger=ledger_url)
    dispatcher: Any = Dispatcher
    ledger: Any = Ledger
    dispatcher.publish = ledger._do_now_or_later = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    with Session(create_engine(parse_url(ledger_url))) as session:
        session.add(Payment(what=KEY))
        agentq.start(app.tasks[step].s("done", folder, "body"), key=KEY, session=session)
        session.commit()


if __name__ == "__main__":
    _main(*sys.argv[1:])
