"""A Celery worker as a real process, with its children in a group of its own: to be killed, frozen, watched."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Self

from tests.support.forked import READ_WHEN_LOADED, Forked
from tests.support.services import Broker, kill_group
from tests.support.waiting import eventually

_LOG_TAIL = 6_000
STOPS_WITHIN = 60
"""Seconds. One that is stopped before it has read that a child took a job, forgets that job: the child then waits
30 s to be heard (billiard's ``GUARANTEE_MESSAGE_CONSUMPTION_RETRY_LIMIT``), and the worker for the child."""
LOADED = (
    *("celery.bin.celery", "celery.app.amqp", "celery.app.control", "celery.app.events", "celery.app.log"),
    *("celery.apps.worker", "celery.backends.base", "celery.events.state", "celery.fixups.django"),
    *("celery.concurrency.prefork", "celery.concurrency.solo", "celery.concurrency.thread"),
    *("celery.loaders.app", "celery.worker.autoscale", "celery.worker.components", "celery.worker.consumer"),
    *("celery.worker.strategy", "kombu.transport.pyamqp", "kombu.transport.redis"),
    *("billiard.popen_fork", "billiard.sharedctypes", "billiard.synchronize", "cffi.cparser"),
    *("sqlalchemy.dialects.postgresql.psycopg", "sqlalchemy.dialects.sqlite.pysqlite"),
    *("agentq.runtime.app", "agentq.runtime.bridge.asyncio_pool"),
)
"""Modules that each worker loads before its app: over a second's work."""
_CUSTOM = {"asyncio": "custom"}


class Worker:
    """``celery -A module worker``; use it in a ``with``: it is ready inside and gone, with all children, after.

    Args:
        broker: where its messages come from.
        ledger_url: where its ledger is.
        module: the app's module.
        pool: prefork, threads, solo, or agentq's own asyncio.
        concurrency: how many steps it runs at once.
        queues: what it listens to. Default: the broker's queue.
        settings: settings of agentq, such as ``lease=2``.
        env: further environment variables.
        arguments: further arguments of ``celery worker``.
    """

    def __init__(
        self,
        broker: Broker,
        ledger_url: str,
        *,
        module: str = "tests.support.project",
        pool: str = "prefork",
        concurrency: int = 2,
        queues: str | None = None,
        settings: Mapping[str, object] | None = None,
        env: dict[str, str] | None = None,
        arguments: tuple[str, ...] = (),
    ) -> None:
        self.name = f"w{uuid.uuid4().hex[:8]}@test"
        self._folder = TemporaryDirectory(prefix="worker-")
        self._log = Path(self._folder.name, "log")
        self._log_text = ""
        self._arguments = [
            *("-m", "celery", "-A", module, "worker", "--loglevel=INFO", "-n", self.name),
            *(f"--pool={_CUSTOM.get(pool, pool)}", f"--concurrency={concurrency}", "-Q", queues or broker.queue),
            *("--without-gossip", "--without-mingle", *arguments),
        ]
        own = {f"AGENTQ_{name.upper()}": str(value) for name, value in (settings or {}).items()}
        own |= {
            "AGENTQ_DEAD_LETTER_QUEUE": broker.dead_letters,
            "AGENTQ_LEDGER": ledger_url,
            "AGENTQ_TEST_QUEUE": broker.queue,
            "CELERY_BROKER_URL": broker.url,
        }
        self._environment = {**os.environ, **READ_WHEN_LOADED, **own, **(env or {})}
        self._is_forked = all(name.startswith("AGENTQ_") for name in env or {})

    def __enter__(self) -> Self:
        self._process = self._forked() if self._is_forked else self._started()
        try:
            eventually(lambda: " ready." in self.log() or not self.is_alive, 90, what="a ready worker")
            assert self.is_alive, "the worker ended while it started"
        except BaseException as error:
            self._end(error)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end(error)

    @property
    def pid(self) -> int:
        """The main process, which leads the group."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """True if the main process runs."""
        return self._process.poll() is None

    def log(self) -> str:
        """All that the worker has written so far; also after its end."""
        return self._log.read_text(errors="replace") if self._log.exists() else self._log_text

    def kill(self) -> None:
        """Kill the worker and its children at once, as a lost machine would."""
        kill_group(self._process)
        self._process.wait()

    def freeze(self) -> None:
        """Stop the worker and its children where they are."""
        kill_group(self._process, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen worker go on."""
        kill_group(self._process, signal.SIGCONT)

    def terminate(self, seconds: float = STOPS_WITHIN, number: int = signal.SIGTERM) -> int:
        """Ask the main process to end and wait for it; returns its exit code."""
        self._process.send_signal(number)
        return self._process.wait(seconds)

    def _forked(self) -> Forked:
        return Forked(
            self._arguments,
            loaded=LOADED,
            environment=self._environment,
            folder=Path(self._folder.name),
            output=self._log,
        )

    def _started(self) -> subprocess.Popen[bytes]:
        """One that loads everything itself, with variables that may be read then."""
        with self._log.open("wb") as output:
            return subprocess.Popen(
                [sys.executable, *self._arguments],
                stdout=output,
                stderr=output,
                env=self._environment,
                cwd=self._folder.name,
                start_new_session=True,
            )

    def _end(self, error: BaseException | None) -> None:
        self.kill()
        self._log_text = self.log()
        self._folder.cleanup()
        if error is not None:
            error.add_note(f"The end of the log of {self.name}:\n{self._log_text[-_LOG_TAIL:]}")
