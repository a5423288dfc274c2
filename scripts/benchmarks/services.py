"""The services of a run: a Redis of its own, its queues on a broker, one worker at a time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from amqp.exceptions import NotFound  # type: ignore[import-untyped]
from kombu.connection import Connection
from kombu.utils.url import sanitize_url
from redis import Redis, RedisError
from redis.backoff import NoBackoff
from redis.retry import Retry

from agentq.embedded.program import find_server
from benchmarks.place import Place

_ASYNCIO_POOL = "agentq.pool:TaskPool"


@dataclass(frozen=True)
class Broker:
    """The broker of both sides, and where bare Celery keeps its results."""

    url: str
    results: str
    pid: int | None
    """The server, where it is the run's own."""


def broker_name(url: str | None) -> str:
    """The broker that is used, without its password."""
    return sanitize_url(url) if url else "a Redis of the run's own"


@contextmanager
def broker(url: str | None, folder: Path) -> Iterator[Broker]:
    """The broker at *url*, or a Redis of the run's own; that also has the results of bare Celery."""
    socket = folder / "redis.sock"
    command = [find_server(), "--port", "0", "--unixsocket", str(socket), "--save", "", "--dir", str(folder)]
    with process(command, folder / "redis.log") as server:
        with Redis(unix_socket_path=str(socket), retry=Retry(NoBackoff(), 0)) as client:
            _await_answer(client)
        messages, results = (f"redis+socket://{socket}?virtual_host={number}" for number in range(2))
        yield Broker(url or messages, results, None if url else server.pid)


@contextmanager
def queues(place: Place) -> Iterator[None]:
    """The queues of a place, deleted at the end."""
    try:
        yield
    finally:
        with Connection(place.broker) as connection:  # type: ignore[no-untyped-call]
            for name in (place.queue, f"{place.queue}.dead"):
                for delete in ("queue_delete", "exchange_delete"):
                    with suppress(NotFound), connection.channel() as channel:
                        getattr(channel, delete)(name)


@contextmanager
def worker(side: str, place: Place, log: Path, *, pool: str, concurrency: int) -> Iterator[int]:
    """``celery worker`` of one side, as its process's id; it may not be ready yet."""
    custom = {"CELERY_CUSTOM_WORKER_POOL": _ASYNCIO_POOL} if pool == "asyncio" else {}
    command = [
        # At INFO both would write lines for every task, and that would be measured too.
        *(sys.executable, "-m", "celery", "-A", f"benchmarks.{side}", "worker", "--loglevel=WARNING"),
        *("-n", place.node, f"--pool={'custom' if custom else pool}", f"--concurrency={concurrency}"),
        "--without-mingle",
    ]
    with process(command, log, environment=place.environment | custom) as started:
        yield started.pid


@contextmanager
def process(
    command: list[str], log: Path, *, environment: dict[str, str] | None = None, pass_fds: tuple[int, ...] = ()
) -> Iterator[subprocess.Popen[bytes]]:
    """A process that leads a group, which is gone at the end."""
    with log.open("ab") as output:
        started = subprocess.Popen(
            command,
            stdout=output,
            stderr=output,
            env=os.environ | (environment or {}),
            pass_fds=pass_fds,
            start_new_session=True,
        )
    try:
        yield started
    finally:
        started.terminate()
        with suppress(subprocess.TimeoutExpired):
            started.wait(timeout=10)
        with suppress(ProcessLookupError):
            os.killpg(started.pid, signal.SIGKILL)
        started.wait()


def _await_answer(client: Redis) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            client.ping()
            return
        except RedisError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
