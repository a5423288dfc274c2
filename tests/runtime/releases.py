"""Two releases of one project, told apart by ``AGENTQ_TEST_RELEASE``: the same steps with other parameters.

Run as a module it starts a workflow of each step that it is told: ``python -m tests.runtime.releases BROKER QUEUE
LEDGER STEP…``; prints their ids.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from celery import Celery

from agentq import AgentQ, step
from agentq.runtime.workflow import Workflow

if TYPE_CHECKING:
    from tests.support import Broker

OLDER, NEWER = "older", "newer"
_VARIABLE = "AGENTQ_TEST_RELEASE"
RESULTS = {"added": "3 and 4", "required": "3 and 4", "removed": "3", "retyped": "3", "fed": "[1, 2]"}
"""What each workflow gives that the newer release starts."""
OLDER_RESULTS = {"required": "3", "removed": "3 without 4", "retyped": "3"}
"""What those give that the older one starts."""


@step(name="releases.numbers")
def numbers() -> list[int]:
    """The same in both."""
    return [1, 2]


if os.environ.get(_VARIABLE) == OLDER:

    @step(name="releases.added", retries=0)
    def added(a: int) -> str:
        return f"{a}"

    @step(name="releases.required", retries=0)
    def required(a: int, b: int | None = None) -> str:
        return f"{a}" if b is None else f"{a} and {b}"

    @step(name="releases.removed", retries=0)
    def removed(a: int, b: int) -> str:
        return f"{a} without {b}"

    @step(name="releases.retyped", retries=0)
    def retyped(a: int) -> str:
        return f"{a}"

    @step(name="releases.fed", retries=0)
    def fed(items: dict[str, int]) -> str:
        return f"{items}"

    CANVASES = {"required": required.s(3), "removed": removed.s(3, 4), "retyped": retyped.s(3)}
else:

    @step(name="releases.added", retries=0)
    def added(a: int, b: int = 4) -> str:  # type: ignore[no-redef]
        return f"{a} and {b}"

    @step(name="releases.required", retries=0)
    def required(a: int, b: int) -> str:  # type: ignore[no-redef]
        return f"{a} and {b}"

    @step(name="releases.removed", retries=0)
    def removed(a: int) -> str:  # type: ignore[no-redef]
        return f"{a}"

    @step(name="releases.retyped", retries=0)
    def retyped(a: list[int]) -> str:  # type: ignore[no-redef]
        return ", ".join(map(str, a))

    @step(name="releases.fed", retries=0)
    def fed(items: list[int]) -> str:  # type: ignore[no-redef]
        return f"{items}"

    CANVASES = {
        "added": added.s(3, b=4),
        "required": required.s(3, 4),
        "removed": removed.s(3),
        "retyped": retyped.s([3]),
        "fed": numbers.s() | fed.s(),
    }


def environment(release: str) -> dict[str, str]:
    """What tells a process which release it has."""
    return {_VARIABLE: release}


def start(release: str, broker: Broker, agentq: AgentQ, *steps: str) -> list[Workflow[str]]:
    """Start a workflow of each of *steps* by a process that has *release*."""
    url = agentq.ledger.url.render_as_string(hide_password=False)
    command = [sys.executable, "-m", __name__, broker.url, broker.queue, url, *steps]
    root = Path(__file__).parents[2]
    done = subprocess.run(
        command, cwd=root, env=os.environ | environment(release), capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return [agentq.workflow(workflow_id) for workflow_id in done.stdout.split()]


def _main(broker: str, queue: str, ledger: str, *steps: str) -> None:
    app = Celery("starter", broker=broker)
    app.conf.task_default_queue = queue
    agentq = AgentQ(app, ledger=ledger)
    for name in steps:
        print(agentq.start(CANVASES[name]).id)


if __name__ == "__main__":
    _main(*sys.argv[1:])
