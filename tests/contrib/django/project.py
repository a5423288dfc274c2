"""The example project of docs/examples/django, run as its users run it: in processes of its own."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from sqlalchemy import make_url

from tests.support.forked import Forked, run

ROOT = Path(__file__).resolve().parents[3]
EXAMPLE = ROOT / "docs" / "examples" / "django"
_MANAGE = str(EXAMPLE / "manage.py")
_LOADED = (
    *("celery", "celery.app.amqp", "celery.app.control", "celery.fixups.django", "kombu.transport.memory"),
    *("django.core.management", "django.db.models", "django.forms", "django.http", "django.urls"),
    *("sqlalchemy.dialects.postgresql.psycopg", "sqlalchemy.dialects.sqlite.pysqlite"),
    *("agentq.runtime.app", "agentq.cli.main"),
)
"""Modules that each command of ``manage.py`` loads, but for the project and agentq's app: over a second's work."""


class Project:
    """The example project with a database of its own.

    Args:
        database_url: an empty database.
        folder: where SQLite's file and the private broker live.
        broker: the broker's URL.
        settings: the settings module.
    """

    def __init__(
        self, database_url: str, folder: Path, *, broker: str = "memory://", settings: str = "research.settings"
    ) -> None:
        url = make_url(database_url)
        own = {
            "CELERY_BROKER_URL": broker,
            "DJANGO_SETTINGS_MODULE": settings,
            "PYTHONPATH": os.pathsep.join([str(EXAMPLE), str(ROOT)]),
            "RESEARCH_DATA": str(folder),
        }
        if url.get_backend_name() == "postgresql":
            own |= {
                "RESEARCH_POSTGRESQL": url.database or "",
                "PGHOST": url.host or "",
                "PGUSER": url.username or "",
            }
            own |= {"PGPORT": str(url.port or 5432), "PGPASSWORD": url.password or ""}
        outside = {
            name: value for name, value in os.environ.items() if not name.startswith(("AGENTQ_", "CELERY_"))
        }
        self.environment = outside | own
        self.folder = folder

    def run(self, *arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Run one command of ``manage.py`` to its end, whatever that is."""
        environment = self.environment | (env or {})
        return run([_MANAGE, *arguments], loaded=_LOADED, environment=environment, folder=self.folder)

    def begin(self, *arguments: str, output: Path) -> Forked:
        """Begin one command of ``manage.py``, whose output goes to a file."""
        place = {"environment": self.environment, "folder": self.folder, "output": output}
        return Forked([_MANAGE, *arguments], loaded=_LOADED, **place)

    def celery(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one command of ``celery -A research`` to its end."""
        command = ["-m", "celery", "-A", "research.celery", *arguments]
        return run(command, loaded=_LOADED, environment=self.environment, folder=self.folder)

    def manage(self, *arguments: str, env: dict[str, str] | None = None) -> str:
        """Run one command of ``manage.py``, which must succeed, and return what it printed."""
        done = self.run(*arguments, env=env)
        assert done.returncode == 0, f"manage.py {' '.join(arguments)}:\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def shell(self, code: str) -> str:
        """Run Python in the project, which must succeed, and return what it printed."""
        return self.manage("shell", "-c", code)
