"""Processes that need not load what they run: forked from one that has, see ``tests.support.boot``."""

from __future__ import annotations

import atexit
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.support.waiting import pause_after

ROOT = Path(__file__).parents[2]
READ_WHEN_LOADED = {
    "CELERY_CUSTOM_WORKER_POOL": "agentq.pool:TaskPool",
    "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
}
"""The variables of workers that Python and Celery read only once, when they are loaded."""


class Forked:
    """A Python as the leader of a session of its own, with what tests need of ``subprocess.Popen``.

    Args:
        arguments: ``-m`` and a module or the path of a script, and its arguments.
        loaded: modules that are loaded already. They only define things, in any process that loads them.
        environment: all its variables. Those that *loaded* read when they are loaded come too late.
        folder: where it runs.
        output: the file that it writes its output to.
        errors: the file that it writes its errors to. Default: *output*.
    """

    def __init__(
        self,
        arguments: list[str],
        *,
        loaded: tuple[str, ...],
        environment: Mapping[str, str],
        folder: Path,
        output: Path,
        errors: Path | None = None,
    ) -> None:
        self.args = arguments
        self.returncode: int | None = None
        self._lock = threading.Lock()
        self._boot = _boot(loaded)
        places = {"folder": str(folder), "output": str(output), "errors": str(errors or output)}
        self.pid: int = self._boot.ask(arguments=arguments, environment={**environment}, **places)

    def poll(self) -> int | None:
        """Return the exit code of the process, as of a ``Popen``; None while it runs."""
        with self._lock:  # the status of an ended process is given once
            if self.returncode is None:
                self.returncode = self._boot.ask(ended=self.pid)
            return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end of the process and return its exit code, or raise ``TimeoutExpired``."""
        began_at = time.monotonic()
        while (code := self.poll()) is None:
            waited = time.monotonic() - began_at
            if timeout is not None and waited > timeout:
                raise subprocess.TimeoutExpired(self.args, timeout)
            time.sleep(pause_after(waited))
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal to the process, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)


def run(
    arguments: list[str], *, loaded: tuple[str, ...], environment: Mapping[str, str], folder: Path
) -> subprocess.CompletedProcess[str]:
    """Run a Python to its end, as ``subprocess.run`` does."""
    with TemporaryDirectory(prefix="forked-") as place:
        output, errors = Path(place, "output"), Path(place, "errors")
        process = Forked(
            arguments, loaded=loaded, environment=environment, folder=folder, output=output, errors=errors
        )
        try:
            code = process.wait()
        except BaseException:
            process.send_signal(signal.SIGKILL)
            raise
        return subprocess.CompletedProcess(arguments, code, output.read_text(), errors.read_text())


class _Boot:
    """A process that others are forked from."""

    def __init__(self, loaded: tuple[str, ...]) -> None:
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.boot", *loaded],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
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
def _boot(loaded: tuple[str, ...]) -> _Boot:
    boot = _Boot(loaded)
    atexit.register(boot.end)
    return boot
