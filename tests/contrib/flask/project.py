"""The example application of docs/examples/flask, run as its users run it: in processes of its own."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

from tests.support.forked import Forked, run
from tests.support.services import kill_group
from tests.support.waiting import eventually

ROOT = Path(__file__).resolve().parents[3]
EXAMPLE = ROOT / "docs" / "examples" / "flask"
_LOADED = (
    *("celery", "celery.app.amqp", "celery.app.control", "kombu.transport.redis"),
    *("flask.cli", "flask_sqlalchemy", "werkzeug.serving"),
    *("sqlalchemy.dialects.postgresql.psycopg", "sqlalchemy.dialects.sqlite.pysqlite"),
    *("agentq.runtime.app", "agentq.cli.main"),
)
"""Modules that each command of ``flask`` loads, but for the application and agentq's app: over a second's work."""


class Project:
    """The example application with a database and a broker of its own, in a folder of its own."""

    def __init__(self, database_url: str, folder: Path, broker: str) -> None:
        outside = {
            name: value for name, value in os.environ.items() if not name.startswith(("AGENTQ_", "CELERY_"))
        }
        self.folder = folder
        self._environment = outside | {
            "PYTHONPATH": os.pathsep.join([str(EXAMPLE), str(ROOT)]),
            "RESEARCH_BROKER": broker,
            "RESEARCH_DATA": str(folder),
            "RESEARCH_DATABASE": database_url,
        }

    def flask(self, *arguments: str) -> str:
        """Run one command of ``flask``, which must succeed, and return what it printed."""
        command = self._command(*arguments)
        done = run(command, loaded=_LOADED, environment=self._environment, folder=self.folder)
        assert done.returncode == 0, f"flask {' '.join(arguments)}:\n{done.stdout}\n{done.stderr}"
        return done.stdout

    @contextmanager
    def server(self) -> Iterator[Server]:
        """Run the web server until the end of the ``with``."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        with self._process("run", "--port", str(port)):
            eventually(lambda: _listens(port), 60, what="a web server that listens")
            yield Server(port)

    @contextmanager
    def worker(self) -> Iterator[None]:
        """Run a worker by ``flask agentq up`` until the end of the ``with``."""
        with self._process("agentq", "up", "--concurrency", "2") as log:
            eventually(lambda: " ready." in log.read_text(), 90, what="a ready worker")
            yield

    @contextmanager
    def _process(self, *arguments: str) -> Iterator[Path]:
        log = self.folder / f"{arguments[0]}.log"
        log.touch()
        place = {"environment": self._environment, "folder": self.folder, "output": log}
        process = Forked(self._command(*arguments), loaded=_LOADED, **place)
        try:
            yield log
        except BaseException as error:
            error.add_note(f"The end of {log.name}:\n{log.read_text(errors='replace')[-4000:]}")
            raise
        finally:
            kill_group(process, signal.SIGKILL)
            process.wait()

    def _command(self, *arguments: str) -> list[str]:
        return ["-m", "flask", "--app", "research", *arguments]


class Server:
    """The web server, asked as the tenant "acme" unless another token is given."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}"

    def get(self, path: str, *, token: str = "token-of-acme") -> tuple[int, Any]:
        """Return the status and the JSON of a page."""
        return self._ask(Request(f"{self._url}{path}"), token)

    def post(self, path: str, *, token: str = "token-of-acme", **fields: str) -> tuple[int, Any]:
        """Send a form; return the status and the JSON of the answer."""
        return self._ask(Request(f"{self._url}{path}", urlencode(fields).encode()), token)

    def _ask(self, request: Request, token: str) -> tuple[int, Any]:
        request.add_header("Authorization", f"Bearer {token}")
        try:
            with urlopen(request, timeout=30) as answer:
                return answer.status, json.load(answer)
        except HTTPError as error:
            with error:
                return error.code, json.load(error)


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0
