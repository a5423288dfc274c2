"""``Worker``: a real Celery worker of the test's app, in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from celery import Celery

from agentq.exceptions import ConfigurationError
from agentq.runtime.api import agentq_of
from agentq.testing import worker_process
from agentq.testing.apps import name_of
from agentq.testing.private import private
from agentq.testing.swaps import current

_START_SECONDS, _STOP_SECONDS = 60, 10


class WorkerProcess:
    """An app on a private broker and a SQLite ledger, with a worker that runs its jobs, inside the ``with``.

    The worker imports the module of the app, so it knows the steps that this module knows. Its log is printed at
    the end, for pytest to show with a test that failed.

    Args:
        app: the Celery app, with its ``AgentQ``.
        folder: where broker, ledger and log are; it is made.
        arguments: further arguments of ``celery worker``.

    Raises ConfigurationError where the app has no ``AgentQ`` or is in no module, and where the worker does not
    start; EmbeddedServerError where there is no server for a broker (the extra ``embedded`` brings one).
    """

    def __init__(self, app: Celery, folder: Path, *, arguments: tuple[str, ...] = ("--concurrency=2",)) -> None:
        self.agentq = agentq_of(app)
        self._folder = folder
        self._command = [sys.executable, "-m", worker_process.__name__, name_of(app), str(folder), *arguments]
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(current(self.agentq.app))
            stack.enter_context(private(self.agentq, self._folder))
            self.agentq.ensure_ledger()
            self._process = self._start()
            stack.callback(self._end)
            self._await_ready()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def pid(self) -> int:
        """The worker's main process, which leads a group of its own."""
        return self._process.pid

    @property
    def log(self) -> str:
        """All that the worker has written so far."""
        return self._log.read_text(errors="replace")

    @property
    def _log(self) -> Path:
        return self._folder / "worker.log"

    def _start(self) -> subprocess.Popen[bytes]:
        with self._log.open("wb") as output:
            return subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
                start_new_session=True,
            )

    def _await_ready(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while not worker_process.is_ready(self._folder):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise ConfigurationError(f"the worker did not start: {self.log[-2_000:]}")
            time.sleep(0.02)

    def _end(self) -> None:
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_STOP_SECONDS)
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()
        sys.stderr.write(self.log)
