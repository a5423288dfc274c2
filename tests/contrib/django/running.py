"""The example project at work: a web server and a worker, as processes."""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

from tests.contrib.django.project import Project
from tests.support.services import kill_group
from tests.support.waiting import eventually


class Server:
    """``manage.py runserver`` at an address of its own."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}"

    def get(self, path: str) -> Any:
        """Return the JSON of a page."""
        with urlopen(f"{self._url}{path}", timeout=30) as answer:
            return json.load(answer)

    def post(self, path: str, **fields: str) -> Any:
        """Send a form and return the JSON of the answer."""
        with urlopen(f"{self._url}{path}", data=urlencode(fields).encode(), timeout=30) as answer:
            return json.load(answer)


@contextmanager
def runserver(project: Project) -> Iterator[Server]:
    """Run the project's web server until the end of the ``with``."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with _process(project, "runserver", "--noreload", f"127.0.0.1:{port}"):
        eventually(lambda: _listens(port), 60, what="a web server that listens")
        yield Server(port)


@contextmanager
def worker(project: Project, *arguments: str) -> Iterator[Path]:
    """Run a worker by ``manage.py agentq up`` until the end of the ``with``; gives its log."""
    with _process(project, "agentq", "up", "--concurrency", "2", *arguments) as log:
        eventually(lambda: " ready." in log.read_text(), 90, what="a ready worker")
        yield log


@contextmanager
def _process(project: Project, *arguments: str) -> Iterator[Path]:
    log = project.folder / f"{arguments[0]}.log"
    log.touch()
    process = project.begin(*arguments, output=log)
    try:
        yield log
    except BaseException as error:
        error.add_note(f"The end of {log.name}:\n{log.read_text(errors='replace')[-4000:]}")
        raise
    finally:
        kill_group(process, signal.SIGKILL)
        process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0
