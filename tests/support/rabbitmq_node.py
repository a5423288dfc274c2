"""A RabbitMQ node of the tests' own: to be stopped, killed, started again, and to have its connections closed.

It shares nothing with a node of the machine: its own name, ports, cookie, folders and port mapper.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.support.services import Broker, kill_group, missing
from tests.support.waiting import eventually

_PLACES = ["/usr/lib/rabbitmq/bin", *os.environ.get("PATH", os.defpath).split(os.pathsep), "/opt/homebrew/sbin"]
_WRAPPERS = ("/usr/sbin/", "/usr/bin/")  # Debian's want to change the user


@dataclass
class Node(Broker):
    """The node, with the queue that the present test uses; durable queues outlive its end."""

    environment: dict[str, str] = field(default_factory=dict)
    control: str = ""

    def start(self) -> None:
        """Start the node at its address, with what it kept on disk."""
        log = Path(self.environment["HOME"], "output")
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=self.environment,
                start_new_session=True,
            )
        port = int(self.environment["RABBITMQ_NODE_PORT"])  # opened at the end of the node's start
        eventually(lambda: _accepts(port) or not self.is_up, 60, what="an answer of the private RabbitMQ")
        assert self.is_up, f"the private RabbitMQ ended:\n{log.read_text()[-2000:]}"

    def stop(self) -> None:
        """Ask the node to end, as an operator who restarts it does."""
        assert self.process is not None
        self.process.terminate()
        self.process.wait(30)

    def kill(self) -> None:
        """Kill the node; what it had not written to disk is gone."""
        assert self.process is not None
        kill_group(self.process)
        self.process.wait()

    def close_connections(self) -> None:
        """Close every client's connection, as a network that drops them does."""
        command = (self.control, "close_all_connections", "a test closes it")
        subprocess.run(command, env=self.environment, check=True, stdout=subprocess.DEVNULL, timeout=90)

    def evaluate(self, expression: str) -> str:
        """Evaluate an expression of Erlang in the node, such as one that changes a setting; returns its value."""
        command = (self.control, "eval", expression)
        done = subprocess.run(
            command, env=self.environment, check=True, capture_output=True, text=True, timeout=90
        )
        return done.stdout.strip()

    def fresh_queue(self) -> None:
        """Give the next test a queue of its own."""
        self.queue = f"agentq-test-{uuid.uuid4().hex[:12]}"

    @property
    def is_up(self) -> bool:
        """True if the node runs."""
        return self.process is not None and self.process.poll() is None


@contextmanager
def rabbitmq_node() -> Iterator[Node]:
    """A running node; gone at the end, with its files and its port mapper."""
    server, control, mapper = _program("rabbitmq-server"), _program("rabbitmqctl"), _program("epmd")
    with TemporaryDirectory(prefix="aq-rabbit-") as folder:
        port, distribution_port, mapper_port = _free_ports(3)
        environment = _environment(Path(folder), port, distribution_port, mapper_port)
        url = f"amqp://guest:guest@127.0.0.1:{port}//"
        command = (*_dying_with_us(), server)
        node = Node(url, "celery", command=command, environment=environment, control=control)
        with _port_mapper(mapper, environment):
            try:
                node.start()
                yield node
            finally:
                with suppress(ProcessLookupError):
                    node.kill()


def _program(name: str) -> str:
    found = (shutil.which(name, path=folder) for folder in _PLACES)
    own = (path for path in found if path and not (name.startswith("rabbitmq") and path.startswith(_WRAPPERS)))
    path = next(own, None)
    if path is None:
        missing("RabbitMQ server", f"no {name} is installed here")
    return path


def _environment(folder: Path, port: int, distribution_port: int, mapper_port: int) -> dict[str, str]:
    plugins = folder / "enabled_plugins"
    plugins.write_text("[].\n")
    (folder / "rabbitmq.conf").touch()
    own = {
        "HOME": folder,  # where Erlang makes the cookie
        "RABBITMQ_CONF_ENV_FILE": os.devnull,
        "RABBITMQ_CONFIG_FILE": folder / "rabbitmq.conf",
        "RABBITMQ_ADVANCED_CONFIG_FILE": folder / "advanced.config",
        "RABBITMQ_ENABLED_PLUGINS_FILE": plugins,
        "RABBITMQ_MNESIA_BASE": folder / "mnesia",
        "RABBITMQ_LOG_BASE": folder / "log",
        "RABBITMQ_NODENAME": f"agentq-{port}@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODE_PORT": port,
        "RABBITMQ_DIST_PORT": distribution_port,
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 +sbwt none",
        "ERL_EPMD_PORT": mapper_port,
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "RUNNING_UNDER_SYSTEMD": "true",  # no shell between this process and the node
    }
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
    return {**kept, **{name: str(value) for name, value in own.items()}}


@contextmanager
def _port_mapper(program: str, environment: dict[str, str]) -> Iterator[None]:
    """Erlang would start one that outlives the node, and share it with other nodes of the machine."""
    nowhere = subprocess.DEVNULL
    command = (*_dying_with_us(), program)
    process = subprocess.Popen(command, env=environment, stdin=nowhere, stdout=nowhere, stderr=nowhere)
    try:
        eventually(lambda: _accepts(int(environment["ERL_EPMD_PORT"])), what="Erlang's port mapper")
        yield
    finally:
        process.kill()
        process.wait()


def _dying_with_us() -> tuple[str, ...]:
    """The command that ends a program when this process ends, also by a kill; nothing without such a tool."""
    tool = shutil.which("setpriv")
    return (tool, "--pdeathsig", "KILL") if tool else ()


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(each.getsockname()[1]) for each in sockets]
    for each in sockets:
        each.close()
    return ports
