"""Processes that need not load what they run: forked from one that has, see ``tests.support.boot``."""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).parents[2]
READ_WHEN_LOADED = {
    "CELERY_CUSTOM_WORKER_POOL": "agentq.runtime.asyncio_pool:TaskPool",
    "PYTHONPATH": os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")])),
}
"""The variables of workers that Python and Celery read only once, when they are loaded."""


class Forked:
    """``python -m module`` as the leader of a session of its own, with what tests need of ``subprocess.Popen``.

    Args:
        module: what is run, with its *arguments*.
        environment: all its variables. Those that are read when a module is loaded come too late.
        folder: where it runs.
        log: the file that it writes its output to.
    """

    def __init__(
        self, module: str, arguments: list[str], *, environment: Mapping[str, str], folder: Path, log: Path
    ) -> None:
        order = {"module": module, "arguments": arguments, "environment": {**environment}}
        self.pid: int = _boot().ask(**order, folder=str(folder), log=str(log))
        self.args = [module, *arguments]
        self.returncode: int | None = None
        self._lock = threading.Lock()

    def poll(self) -> int | None:
        """Return the exit code of the process, as of a ``Popen``; None while it runs."""
        with self._lock:  # who has been told once cannot ask again
            if self.returncode is None:
                self.returncode = _boot().ask(ended=self.pid)
            return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end of the process and return its exit code, or raise ``TimeoutExpired``."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while (code := self.poll()) is None:
            if deadline is not None and time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
            time.sleep(0.01)
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal to the process, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)


class _Boot:
    """The process that others are forked from."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.boot"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=_ROOT,
            env=os.environ | READ_WHEN_LOADED,
            start_new_session=True,
        )

    def ask(self, **order: Any) -> Any:
        """Give an order and return the answer."""
        orders, answers = self._process.stdin, self._process.stdout
        assert orders is not None
        assert answers is not None
        with self._lock:
            orders.write(f"{json.dumps(order)}\n".encode())
            orders.flush()
            return json.loads(answers.readline())

    def end(self) -> None:
        """End it; what it has forked goes on."""
        self._process.communicate()


@cache
def _boot() -> _Boot:
    boot = _Boot()
    atexit.register(boot.end)
    return boot
