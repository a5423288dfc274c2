"""The program of a test's worker: ``python -m agentq.testing.worker_process APP FOLDER [ARGUMENTS]``."""

from __future__ import annotations

import sys
from pathlib import Path

from celery import signals

from agentq.runtime.api import agentq_of
from agentq.testing.apps import find
from agentq.testing.private import private

_READY = "worker.ready"


def is_ready(folder: Path) -> bool:
    """Say whether the worker of a folder takes messages."""
    return (folder / _READY).exists()


def main(name: str, folder: str, *arguments: str) -> None:
    """Run a worker of the app of this name on the private broker and ledger of the folder, for all its queues."""
    app = find(name)
    agentq = agentq_of(app)
    with private(agentq, Path(folder)):
        signals.worker_ready.connect(lambda **_: Path(folder, _READY).touch(), weak=False)
        queues = ",".join(agentq.catalogue.queues())
        app.worker_main(["worker", "--loglevel=INFO", "--without-mingle", "--queues", queues, *arguments])


if __name__ == "__main__":
    main(*sys.argv[1:])
