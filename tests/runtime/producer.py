"""A process that sends by names only: plain Celery, without agentq and without the steps.

Run as a module: ``python -m tests.runtime.producer BROKER QUEUE WHAT``, with WHAT as JSON; prints a task id.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from celery import Celery, chain, chord

if TYPE_CHECKING:
    from tests.support import Broker


def send(broker: Broker, **what: Any) -> str:
    """Send from a process of its own; returns the id of the first task."""
    command = [sys.executable, "-m", __name__, broker.url, broker.queue, json.dumps(what)]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def _main(broker: str, queue: str, what: str) -> None:
    app = Celery("producer", broker=broker, backend="cache+memory://")
    app.conf.task_default_queue = queue
    print(_send(app, **json.loads(what)))
    assert "agentq" not in sys.modules


def _send(app: Celery, kind: str, names: list[str], args: list[list[Any]], **options: Any) -> str:
    if kind == "task":
        return str(app.send_task(names[0], args[0], **options).id)
    parts = [app.signature(name, given) for name, given in zip(names, args, strict=True)]
    if kind == "chain":
        return str(chain(*parts).apply_async().parent.id)
    return str(chord(parts[:-1], parts[-1]).apply_async().parent.results[0].id)


if __name__ == "__main__":
    _main(*sys.argv[1:])
