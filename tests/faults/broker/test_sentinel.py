"""Redis behind Sentinel: the server that is written to is lost, and another one takes its place."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import RedisError

from agentq.embedded.program import find_server
from tests.faults.broker.shared import on_sqlite, ran_once, worker_of
from tests.runtime.queries import require_sound
from tests.support import Broker, Gates, client, eventually
from tests.support.postgres import free_port
from tests.support.steps import add, meet

SLOTS = 3
NAME = "main"
WATCH = """
port {own}
bind 127.0.0.1
sentinel monitor {name} 127.0.0.1 {first} 1
sentinel down-after-milliseconds {name} 500
sentinel failover-timeout {name} 2000
"""


@contextmanager
def server(folder: Path, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """A server that runs, with these arguments."""
    command = (find_server(), *options, "--dir", str(folder))
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def address(port: int) -> tuple[str, ...]:
    return ("--port", str(port), "--bind", "127.0.0.1", "--save", "")


def answers(port: int, *command: str) -> object:
    """The answer of the server at a port; None for no answer."""
    try:
        with Redis(port=port, decode_responses=True) as redis:
            return redis.execute_command(*command)
    except RedisError:
        return None


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """The server that is written to, and the port of the Sentinel that watches it and its replica."""
    first, second, own = free_port(), free_port(), free_port()
    folders = [tmp_path / name for name in ("first", "second", "sentinel")]
    for folder in folders:
        folder.mkdir()
    settings = folders[2] / "sentinel.conf"
    settings.write_text(WATCH.format(own=own, name=NAME, first=first))
    follows = ("--replicaof", f"127.0.0.1 {first}", "--repl-diskless-sync-delay", "0")
    with (
        server(folders[0], *address(first), "--repl-diskless-sync-delay", "0") as process,
        server(folders[1], *address(second), *follows),
    ):
        eventually(lambda: "connected" in str(answers(second, "ROLE")), 20, what="a replica")
        with server(folders[2], str(settings), "--sentinel"):
            eventually(lambda: answers(own, "SENTINEL", "REPLICAS", NAME), 20, what="a Sentinel that knows both")
            yield process, own


@on_sqlite
def test_a_failover_costs_no_attempt_and_leaves_the_worker_whole(
    watched: tuple[subprocess.Popen[bytes], int], ledger_url: str, gates: Gates
) -> None:
    process, own = watched
    folder, broker = str(gates.folder), Broker(f"sentinel://127.0.0.1:{own}/0", "celery")
    env = {"AGENTQ_TEST_SENTINEL": NAME}
    with client(broker, ledger_url) as agentq:
        agentq.app.conf.broker_transport_options = {"master_name": NAME}
        with worker_of(broker, ledger_url, SLOTS, env=env) as worker:
            held = [agentq.start(meet.s(number, folder, "gate") | add.s(1)) for number in range(SLOTS)]
            gates.await_reached("gate", SLOTS)
            process.kill()
            late = agentq.start(add.s(1, 1))
            gates.open("gate")
            assert [workflow.result(60) for workflow in (*held, late)] == [1, 2, 3, 2]
            full = [agentq.start(meet.s(number, folder, "all")) for number in range(SLOTS)]
            gates.await_reached("all", SLOTS, seconds=30)
            gates.open("all")
            assert [workflow.result(30) for workflow in full] == [0, 1, 2]
            assert ran_once(*held, late, *full)
            assert worker.is_alive
            require_sound(agentq)
