"""The program ``agentq`` as the terminals of a page run it: in a fork of a process that has loaded it.

A page's terminal finds a small program of this name first. That one passes its arguments, its environment and its
open files on to the process, and signals to the fork, and ends as the fork ends. So each of a hundred commands
takes no second to load what the others have loaded.
"""

from __future__ import annotations

import json
import os
import runpy
import selectors
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.support.boot import freeze, take_environment
from tests.support.forked import READ_WHEN_LOADED
from tests.support.waiting import eventually
from tests.support.worker import LOADED

_ROOT = Path(__file__).parents[2]
_INSTALLED = Path(sys.executable).parent / "agentq"
_PROGRAM = """\
#!{python} -IS
import json, os, signal, socket, sys

server = socket.socket(socket.AF_UNIX)
server.connect({address!r})
for number in signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT:
    if signal.getsignal(number) is not signal.SIG_IGN:
        signal.signal(number, lambda number, frame: server.send(bytes([number])))
order = json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()
socket.send_fds(server, [len(order).to_bytes(4, "big")], [0, 1, 2])
server.sendall(order)
code = json.loads(server.recv(16) or b"137")
if code < 0:
    signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)
sys.exit(code)
"""


@contextmanager
def loaded_program() -> Iterator[Path]:
    """Yield the folder of a program ``agentq`` that is loaded already; at the end, all that it runs is killed."""
    with TemporaryDirectory(prefix="loaded-") as name:
        address, program = Path(name, "socket"), Path(name, "agentq")
        program.write_text(_PROGRAM.format(python=sys.executable, address=str(address)))
        program.chmod(0o755)
        command = [sys.executable, "-m", "tests.docs.loaded", str(address)]
        environment = os.environ | READ_WHEN_LOADED | {"PYTHONUNBUFFERED": "1"}
        with subprocess.Popen(command, cwd=_ROOT, env=environment, stdin=subprocess.PIPE) as process:
            eventually(lambda: address.exists() or process.poll() is not None, what="a loaded program")
            yield Path(name)
            process.communicate()


class _Server:
    """Runs one fork for each connection, until its own input ends."""

    def __init__(self, address: str) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(address)
        self._listener.listen()
        self._running: dict[int, socket.socket] = {}
        self._selector = selectors.DefaultSelector()
        awake, self._wake = os.pipe()
        os.set_blocking(self._wake, False)
        signal.set_wakeup_fd(self._wake)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._selector.register(awake, selectors.EVENT_READ, self._reap)
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        self._selector.register(sys.stdin, selectors.EVENT_READ, None)

    def serve(self) -> Mapping[str, Any] | None:
        """Return in each fork the order that it is to do, and None at the end of the input."""
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is sys.stdin:
                    for pid in self._running:
                        os.killpg(pid, signal.SIGKILL)
                    return None
                order = key.data(key.fileobj)
                if order is not None:
                    return order  # type: ignore[no-any-return]

    def _accept(self, _: Any) -> Mapping[str, Any] | None:
        connection, _ = self._listener.accept()
        size, files, _, _ = socket.recv_fds(connection, 4, 3)
        content = connection.recv(int.from_bytes(size, "big"), socket.MSG_WAITALL)
        arguments, folder, environment = json.loads(content)
        pid = os.fork()
        if pid == 0:
            os.setsid()
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _open(files)
            return {"arguments": arguments, "folder": folder, "environment": environment}
        for file in files:
            os.close(file)
        self._running[pid] = connection
        self._selector.register(connection, selectors.EVENT_READ, lambda _: self._pass_on(pid))
        return None

    def _pass_on(self, pid: int) -> None:
        """Pass a signal on to a fork; one whose program was killed is killed too."""
        numbers = self._running[pid].recv(16) or bytes([signal.SIGKILL])
        for number in numbers:
            os.killpg(pid, number)
        if signal.SIGKILL in numbers:
            self._selector.unregister(self._running[pid])

    def _reap(self, awake: Any) -> None:
        os.read(awake, 1024)
        for pid in list(self._running):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                connection = self._running.pop(pid)
                if connection in self._selector.get_map():
                    self._selector.unregister(connection)
                with suppress(OSError):  # its program may be killed
                    connection.send(json.dumps(os.waitstatus_to_exitcode(status)).encode())
                connection.close()


def _open(files: Sequence[int]) -> None:
    """Have these files as input, output and errors, which may be of another kind than those of this process."""
    for target, file in enumerate(files):
        os.dup2(file, target)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", buffering=1, closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, closefd=False, errors="backslashreplace")  # noqa: SIM115


def main(address: str) -> None:
    """Serve; in a fork, be the program."""
    for name in LOADED:
        import_module(name)
    freeze()
    order = _Server(address).serve()
    if order is None:
        return
    take_environment(order["environment"], order["folder"], str(_INSTALLED.parent))
    sys.argv = [str(_INSTALLED), *order["arguments"]]
    runpy.run_path(str(_INSTALLED), run_name="__main__")


if __name__ == "__main__":
    main(sys.argv[1])
