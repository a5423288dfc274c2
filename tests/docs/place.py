"""The folder in which a page's commands are typed, with the files that it shows and services of its own."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.docs.snippets import ROOT, Page, read
from tests.support.postgres import Postgres, free_port
from tests.support.services import missing, redis_server

_WEB, _REDIS, _PGBOUNCER = "8000", "6379", "6432"


@contextmanager
def place(page: Page, folder: Path, programs: Path) -> Iterator[tuple[Page, dict[str, str]]]:
    """The page with the ports of services of its own in place of the usual ones; the environment of its terminals.

    They find *programs* before those that are installed.

    PostgreSQL's programs find its own server by the environment, and so does a URL without a port. The port of
    PgBouncer is that server's too.
    """
    env = environment()
    env["PATH"] = os.pathsep.join([str(programs), env["PATH"]])
    ports = {_WEB: str(free_port())}
    typed = "\n".join([*page.files.values(), *(snippet.code for snippet in page.snippets if snippet.is_typed)])
    if "\ncurl " in typed and shutil.which("curl") is None:
        missing("curl", "it is not installed")
    with ExitStack() as stack:
        if "postgresql://" in typed:
            server = stack.enter_context(Postgres())
            ports[_PGBOUNCER] = str(server.port)
            env |= server.environment(env["PATH"])
        if _REDIS in typed:
            port = free_port()
            ports[_REDIS] = str(port)
            stack.enter_context(redis_server(port))
        own = read(page.path, ports)
        _furnish(own, folder, ports)
        yield own, env


def _furnish(page: Page, folder: Path, ports: Mapping[str, str]) -> None:
    origin = ROOT / page.place
    if origin.is_dir():
        shutil.copytree(origin, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        _furnish(read(origin, ports), folder, ports)
    for name, code in page.files.items():
        path = folder / name
        if not path.exists():  # else the page shows a part of it
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(code, encoding="utf-8")


def environment() -> dict[str, str]:
    """Return the environment of a person who has installed agentq, and has this checkout at $CHECKOUT."""
    ours = ("AGENTQ_", "CELERY_", "PYTEST_", "PYTHON")  # the settings of the tests themselves
    rest = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    path = os.pathsep.join([str(Path(sys.executable).parent), rest["PATH"]])
    return rest | {"PATH": path, "CHECKOUT": str(ROOT), "PYTHONUNBUFFERED": "1"}
