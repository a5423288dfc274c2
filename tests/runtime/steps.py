"""Steps that do worse than fail; a worker imports them with ``-I tests.runtime.steps``."""

from __future__ import annotations

import gc
import os
import re
import signal
import sys
from pathlib import Path

from agentq import step
from tests.support import gates

MEMORY = Path("/proc/self/smaps_rollup")


@step(retries=1)
def poison(folder: str) -> None:
    """Leave a trace and kill the process that runs it."""
    gates.note(folder, "poison")
    os.kill(os.getpid(), signal.SIGKILL)


@step(retries=0)
def run_out_of_memory() -> None:
    raise MemoryError("no memory left")


@step(retries=0)
def leave() -> None:
    sys.exit("the step leaves")


@step
def pid_after(folder: str, name: str) -> int:
    """Return the process's id once the gate *name* is open."""
    gates.pass_gate(folder, name)
    return os.getpid()


@step
def own_memory() -> float:
    """Collect garbage, and return which part of the process's memory it shares with no other."""
    gc.collect()
    kilobytes = dict(re.findall(r"^(\w+): +(\d+) kB$", MEMORY.read_text(), re.MULTILINE))
    return (int(kilobytes["Private_Clean"]) + int(kilobytes["Private_Dirty"])) / int(kilobytes["Rss"])
