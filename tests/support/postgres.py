"""A PostgreSQL server of the test's own, to be stopped in the middle of anything and started again."""

from __future__ import annotations

import getpass
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Self

import psycopg

from tests.support.services import missing
from tests.support.waiting import eventually

_PORTS = range(20_000, 32_000)
"""Below the ports that clients get: while the server is down, no connection may take its port."""
_SETTINGS = {
    "fsync": "off",  # what a killed process wrote is safe with the operating system
    "max_connections": "60",
    "shared_buffers": "16MB",
    "log_line_prefix": "%a ",
}


class Postgres:
    """One server with one folder and one port for its whole life; use it in a ``with``: it runs inside.

    Args:
        settings: settings of the server's, beside those that all these servers have.
    """

    def __init__(self, **settings: str) -> None:
        self._settings = [f"--{name}={value}" for name, value in {**_SETTINGS, **settings}.items()]
        self._bin = _binaries()
        self._user = "postgres" if os.geteuid() == 0 else getpass.getuser()
        self._folder = TemporaryDirectory(prefix="aq-pg-")
        self._log = Path(self._folder.name, "log")
        self.port = free_port()

    @property
    def url(self) -> str:
        """The URL of its only database."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def environment(self, path: str) -> dict[str, str]:
        """The environment that PostgreSQL's own programs need, behind *path*."""
        own = {"PGHOST": "127.0.0.1", "PGPORT": str(self.port), "PGUSER": "postgres"}
        return own | {"PATH": os.pathsep.join([path, str(self._bin)])}

    def __enter__(self) -> Self:
        with suppress(PermissionError):
            shutil.chown(self._folder.name, self._user)
        self._run("initdb", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
        self.start()
        return self

    @contextmanager
    def standby(self) -> Iterator[Postgres]:
        """A server that follows this one and can take its place."""
        other = Postgres()
        with suppress(PermissionError):
            shutil.chown(other._folder.name, other._user)
        other.follow(self)
        with closing(other):
            yield other

    def follow(self, other: Postgres) -> None:
        """Start anew, as a standby of a server that runs."""
        shutil.rmtree(self._data, ignore_errors=True)
        self._run("pg_basebackup", "-d", other.url, "--write-recovery-conf", "--checkpoint=fast", "--no-sync")
        self.start()

    def promote(self) -> None:
        """Make a standby the server that is written to."""
        self._run("pg_ctl", "promote")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop it and remove all that it has."""
        self.stop()
        self._folder.cleanup()

    @property
    def is_up(self) -> bool:
        """True if the server runs."""
        return self._process.poll() is None

    def start(self) -> None:
        """Start it and return when it answers."""
        address = ("-h", "127.0.0.1", "-p", str(self.port), "-k", self._folder.name)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*self._program("postgres"), *address, *self._settings],
                stdout=log,
                stderr=log,
                start_new_session=True,
                **self._run_as(),
            )
        eventually(lambda: self._answers() or not self.is_up, 30, what="an answer of the private PostgreSQL")
        assert self.is_up, f"the private PostgreSQL ended while it started:\n{self.log()[-2_000:]}"

    def stop(self, mode: signal.Signals = signal.SIGQUIT) -> None:
        """Stop it as ``pg_ctl stop -m immediate`` does, in the middle of all transactions; SIGINT is ``fast``."""
        self.ask_to_stop(mode)
        self._process.wait(20)

    def ask_to_stop(self, mode: signal.Signals = signal.SIGTERM) -> None:
        """Ask it to stop; by SIGTERM, which is ``smart``, it refuses clients and waits for those that it has."""
        if self.is_up:
            self._process.send_signal(mode)

    def refuse_writes(self) -> None:
        """Let it be read only from now on, for who is connected too."""
        with psycopg.connect(self.url, autocommit=True) as admin:
            admin.execute("ALTER SYSTEM SET default_transaction_read_only = on")
            admin.execute("SELECT pg_reload_conf()")

    def restart(self) -> None:
        """Stop it at once and start it again."""
        self.stop()
        self.start()

    def log(self) -> str:
        """All that the server has logged so far."""
        return self._log.read_text(errors="replace")

    @property
    def _data(self) -> Path:
        return Path(self._folder.name, "data")

    def _program(self, name: str) -> list[str]:
        return [str(self._bin / name), "-D", str(self._data)]

    def _run(self, name: str, *options: str) -> None:
        subprocess.run([*self._program(name), *options], check=True, capture_output=True, **self._run_as())

    def _run_as(self) -> dict[str, Any]:
        """PostgreSQL refuses to run as root."""
        return {"user": self._user, "cwd": self._folder.name} if os.geteuid() == 0 else {"cwd": self._folder.name}

    def _answers(self) -> bool:
        with suppress(psycopg.OperationalError), psycopg.connect(self.url, connect_timeout=3):
            return True
        return False


def free_port() -> int:
    """Return a port at which no process listens."""
    for port in random.sample(_PORTS, 100):
        with socket.socket() as candidate, suppress(OSError):
            candidate.bind(("127.0.0.1", port))
            return port
    raise OSError(f"no port of {_PORTS} is free")


def _binaries() -> Path:
    if os.geteuid() == 0 and not _has_user("postgres"):
        missing("PostgreSQL", "root cannot run it, and there is no user postgres")
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    if program := shutil.which("pg_config"):
        folders.insert(0, Path(subprocess.check_output([program, "--bindir"], text=True).strip()))
    found = [folder for folder in folders if (folder / "initdb").exists() and (folder / "postgres").exists()]
    return found[0] if found else missing("PostgreSQL", "initdb and postgres are not installed")


def _has_user(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True
