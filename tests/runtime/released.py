"""Two releases of one project, chosen by ``AGENTQ_TEST_RELEASE``: workers of one, and starts by one.

A module with both has ``CANVASES`` by name. Run as a module this starts a workflow of each name that it is
given: ``python -m tests.runtime.released MODULE BROKER QUEUE LEDGER NAME…``; prints their ids.
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from celery import Celery

from agentq import AgentQ
from agentq.runtime.workflow import Workflow

if TYPE_CHECKING:
    from tests.support import Broker, Worker

OLDER, NEWER = "older", "newer"
_VARIABLE = "AGENTQ_TEST_RELEASE"


def is_older() -> bool:
    """Say if this process has the older release."""
    return os.environ.get(_VARIABLE) == OLDER


def worker_of(module: str, release: str, broker: Broker, ledger_url: str, **options: Any) -> Worker:
    """A worker that has *release* of *module*."""
    from tests.support import Worker  # not in each process that starts something

    env = {_VARIABLE: release} | options.pop("env", {})
    return Worker(broker, ledger_url, arguments=("-I", module), env=env, **options)


def start(module: str, broker: Broker, agentq: AgentQ, release: str, *names: str) -> list[Workflow[Any]]:
    """Start workflows of these names by a process that has *release* of *module*."""
    url = agentq.ledger.url.render_as_string(hide_password=False)
    command = [sys.executable, "-m", __name__, module, broker.url, broker.queue, url, *names]
    root = Path(__file__).parents[2]
    env = os.environ | {_VARIABLE: release}
    done = subprocess.run(command, cwd=root, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return [agentq.workflow(workflow_id) for workflow_id in done.stdout.split()]


def _main(module: str, broker: str, queue: str, ledger: str, *names: str) -> None:
    app = Celery("starter", broker=broker)
    app.conf.task_default_queue = queue
    agentq = AgentQ(app, ledger=ledger)
    canvases = import_module(module).CANVASES
    for name in names:
        print(agentq.start(canvases[name]).id)


if __name__ == "__main__":
    _main(*sys.argv[1:])
