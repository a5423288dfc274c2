"""Bare Celery's results for a canvas: a private Redis, a prefork worker, nothing of agentq.

Run as a module, this file is the worker: ``python -m tests.canvas.bare SOCKET``.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any, Literal

import redis
from celery import Celery
from celery.exceptions import TimeoutError as ResultTimeout
from celery.result import GroupResult

from .functions import FUNCTIONS

Kind = Literal["value", "refused", "raised", "unfinished"]


@dataclass(frozen=True)
class Outcome:
    """The end of a canvas on bare Celery.

    ``kind`` is ``value`` (``value`` is plain JSON), ``refused`` (building or applying it raised),
    ``raised`` (a task failed) or ``unfinished`` (no result in time); ``error`` names what was raised.
    """

    kind: Kind
    value: Any = None
    error: str = ""


class BareCelery:
    """A running worker and the app that talks to it."""

    def __init__(self, app: Celery) -> None:
        self.app = app
        self.tasks = tasks_of(app)

    def run(self, build: Callable[[Any], Any], timeout: float = 10) -> Outcome:
        """Build a canvas from the tasks, apply it and wait at most ``timeout`` seconds for its result."""
        try:
            result = build(self.tasks).apply_async()
        except Exception as error:
            return Outcome("refused", error=repr(error))
        if result is None:
            return Outcome("refused", error="apply_async() returned None: nothing was started")
        try:
            return Outcome("value", json.loads(json.dumps(_joined(result, time.monotonic() + timeout))))
        except ResultTimeout:
            return Outcome("unfinished", error=f"no result after {timeout} s")
        except Exception as error:
            return Outcome("raised", error=repr(error))


@contextmanager
def bare_celery() -> Iterator[BareCelery]:
    """Start a private Redis and a worker; stop both at the end."""
    with TemporaryDirectory(prefix="bare-") as folder, _redis(Path(folder)) as socket, _worker(socket):
        app = make_app(socket)
        yield BareCelery(app)
        # A result that is collected later would unsubscribe, and so wait for a Redis that is gone.
        app.backend.result_consumer.subscribed_to.clear()
        app.backend.result_consumer.stop()
        app.close()


def make_app(socket: Path | str) -> Celery:
    """The Celery app of both sides: one task per function, broker and results on one Redis."""
    url = f"redis+socket://{socket}"
    app = Celery("bare", broker=url, backend=url, set_as_current=False)
    app.conf.update(worker_prefetch_multiplier=1, broker_connection_retry_on_startup=True)
    for function in FUNCTIONS:
        app.task(function, name=function.__name__)
    return app


def tasks_of(app: Celery) -> SimpleNamespace:
    return SimpleNamespace(**{function.__name__: app.tasks[function.__name__] for function in FUNCTIONS})


def _joined(result: Any, deadline: float) -> Any:
    if isinstance(result, GroupResult):
        return [_joined(child, deadline) for child in result.results]
    # Asked for, not listened for: Celery reads once and subscribes on two connections of their own, and what
    # ends between the two is never reported to it (about 1 of 10,000 here).
    while not result.ready():
        if time.monotonic() > deadline:
            raise ResultTimeout(result.id)
        time.sleep(0.005)
    return result.get()


@contextmanager
def _redis(folder: Path) -> Iterator[Path]:
    socket = folder / "redis.sock"
    command = [_server(), "--port", "0", "--unixsocket", str(socket), "--save", "", "--dir", str(folder)]
    with _process(command, folder / "redis.log") as server, redis.Redis(unix_socket_path=str(socket)) as client:
        _wait_until(lambda: socket.exists() and client.ping(), server, folder / "redis.log")
        yield socket


@contextmanager
def _worker(socket: Path) -> Iterator[None]:
    # The package may be imported as `tests.canvas` or as `canvas`: start it under the same name.
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[__name__.count(".")])}
    log = socket.with_name("worker.log")
    with _process([sys.executable, "-m", __name__, str(socket)], log, environment) as worker:
        app = make_app(socket)
        _wait_until(lambda: app.control.ping(timeout=0.5), worker, log)
        app.close()
        yield


@contextmanager
def _process(
    command: list[str], log: Path, environment: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command with its children, and kill them all at the end: nothing they hold is worth a wait."""
    with (
        log.open("wb") as output,
        subprocess.Popen(
            command, stdout=output, stderr=output, env=environment, start_new_session=True
        ) as process,
    ):
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def _wait_until(check: Callable[[], Any], process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 30
    while not check():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{process.args!r} did not come up. {log.read_text(errors='replace')[-2000:]}")
        time.sleep(0.02)


def _server() -> str:
    for name in ("redis-server", "valkey-server"):
        if path := shutil.which(name):
            return path
    raise RuntimeError("Neither redis-server nor valkey-server is on PATH.")


if __name__ == "__main__":
    make_app(sys.argv[1]).worker_main(["worker", "--concurrency=2", "--loglevel=WARNING", "--without-gossip"])
