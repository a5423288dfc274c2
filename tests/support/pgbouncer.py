"""A PgBouncer of the test's own, in transaction mode, before a database."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psycopg
import pytest
from sqlalchemy import make_url

from tests.support.postgres import free_port
from tests.support.waiting import eventually

_SETTINGS = """
[databases]
* = {databases}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {own_port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {connections}
"""


@contextmanager
def pgbouncer(url: str, *, connections: int) -> Iterator[str]:
    """The URL of the database at *url* by way of a PgBouncer that opens at most so many connections to it."""
    program = shutil.which("pgbouncer", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"]))
    if program is None:
        pytest.skip("PgBouncer is not installed: apt-get install pgbouncer")
    server, own_port = make_url(url), free_port()
    with TemporaryDirectory(prefix="aq-pool-") as folder:
        settings, log = Path(folder, "pgbouncer.ini"), Path(folder, "log")
        user = server.username or "postgres"
        databases = f"host={server.host} port={server.port or 5432} user={user}"
        settings.write_text(_SETTINGS.format(databases=databases, own_port=own_port, connections=connections))
        Path(folder).chmod(0o755)
        with log.open("wb") as output:
            process = subprocess.Popen([program, str(settings)], stdout=output, stderr=output, **_run_as())
        pooled = server.set(host="127.0.0.1", port=own_port).render_as_string(hide_password=False)
        try:
            eventually(lambda: _answers(pooled) or process.poll() is not None, what="an answer of PgBouncer")
            assert process.poll() is None, log.read_text()
            yield pooled
        finally:
            process.kill()
            process.wait()


def _run_as() -> dict[str, Any]:
    """PgBouncer refuses to run as root."""
    return {"user": "nobody"} if os.geteuid() == 0 else {}


def _answers(url: str) -> bool:
    with suppress(psycopg.OperationalError), psycopg.connect(url, connect_timeout=3, prepare_threshold=None):
        return True
    return False
