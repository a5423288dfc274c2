"""A real Celery worker, in a process group of its own: Ctrl-C does not reach it, SIGKILL takes all of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from agentq.demo.errors import DemoError

STOP_SECONDS = 10
LOG_TAIL_LINES = 15


class DemoWorker:
    """A worker of the demo in a process of its own. It starts when it is made; its maker must `stop` it.

    Args:
        name: its Celery node name.
        concurrency: how many jobs it runs at once.
        log: the file that its output is added to.
    """

    def __init__(self, name: str, concurrency: int, log: Path) -> None:
        self.name = name
        self._log = log
        command = [sys.executable, "-m", "celery", "-A", "agentq.demo.app", "worker", "--without-mingle"]
        command += ["--hostname", f"{name}@%h", "--concurrency", str(concurrency), "--loglevel", "INFO"]
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def freeze(self) -> None:
        """Suspend all its processes where they are."""
        self._send(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let them go on."""
        self._send(signal.SIGCONT)

    def kill(self) -> None:
        """Kill all its processes at once; nothing of them can clean up."""
        self._send(signal.SIGKILL)
        self._process.wait()

    def stop(self) -> None:
        """Let it end its reserved jobs for up to 10 seconds, then kill the rest."""
        try:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_SECONDS)
        finally:  # also when Ctrl-C is pressed once more
            self.kill()

    def require_alive(self) -> None:
        """Raise DemoError, with the end of its log, where it ended by itself."""
        status = self._process.poll()
        if status is not None:
            tail = self._log.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:]
            raise DemoError(
                f"The worker ended by itself, with exit status {status}. The end of {self._log}:\n"
                + "\n".join(tail)
            )

    def _send(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)
