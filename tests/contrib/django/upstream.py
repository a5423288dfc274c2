"""Django's own tests of task backends, run against agentq's: a check for development, from Django's source.

    python -m tests.contrib.django.upstream path/to/django-6.1/tests

Copies the tests with agentq's backend in place of Django's, and runs them by Django's runner in the example
project. What cannot apply is left out, each with its reason.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import django
import pytest

from tests.contrib.django.project import Project
from tests.support import new_database

_DUMMY = "django.tasks.backends.dummy.DummyBackend"
_IMMEDIATE = "django.tasks.backends.immediate.ImmediateBackend"
_OURS = "agentq.contrib.django.tasks.Backend"
_INLINE = "tests.contrib.django.inline.InlineBackend"
_LEFT_OUT = {
    "test_clear": "the dummy backend's results can be cleared",
    "test_refresh_result": "changes the dummy backend's own list of results",
    "test_refresh_result_async": "changes the dummy backend's own list of results",
    "test_cannot_get_result": "the immediate backend keeps no results; agentq does",
    "test_cannot_refresh_result": "the immediate backend keeps no results; agentq does",
    "test_cannot_pass_run_after": "the immediate backend cannot defer; agentq can",
    "test_throws_keyboard_interrupt": "a worker is stopped by signals, it has no console to be interrupted at",
}
_SYNCHRONOUS = "asks for the result inside a coroutine without await, where Django refuses its database"


def adapt(source: Path, target: Path) -> None:
    """Copy Django's tests of tasks with agentq's backend."""
    package = target / "tasks"
    package.mkdir()
    for name in ("__init__.py", "tasks.py", "test_tasks.py", "test_dummy_backend.py", "test_immediate_backend.py"):
        text = (source / "tasks" / name).read_text()
        (package / name).write_text(_adapted(name, text) if name.startswith("test_") else text)


def _adapted(name: str, text: str) -> str:
    text = text.replace(_DUMMY, _OURS).replace(_IMMEDIATE, _INLINE)
    text = text.replace(
        "from django.tasks.backends.dummy import DummyBackend", f"from {_module(_OURS)} as DummyBackend"
    )
    text = text.replace(
        "from django.tasks.backends.immediate import ImmediateBackend",
        f"from {_module(_INLINE)} as ImmediateBackend",
    )
    text = text.replace("SimpleTestCase", "TestCase").replace("available_apps = []", "available_apps = None")
    # What the dummy backend collects is in the ledger here.
    text = re.sub(r"^ *default_task_backend\.clear\(\)\n", "        pass\n", text, flags=re.MULTILINE)
    text = re.sub(
        r"^ *self\.assert\w+\((len\()?(result, )?default_task_backend\.results.*\n", "", text, flags=re.MULTILINE
    )
    left_out = {"test_refresh_result": _SYNCHRONOUS} if name == "test_tasks.py" else _LEFT_OUT
    for test, reason in left_out.items():
        skipped = rf'\1@__import__("unittest").skip({reason!r})\n\1\2'
        text = re.sub(rf"^( +)((async )?def {test}\()", skipped, text, flags=re.MULTILINE)
    return text


def _module(path: str) -> str:
    module, _, name = path.rpartition(".")
    return f"{module} import {name}"


def main(source: str) -> None:
    """Run the tests on PostgreSQL and on SQLite; exits with an error if one of them fails."""
    results = [passed(Path(source), kind) for kind in ("postgresql", "sqlite")]
    sys.exit(not all(results))


def passed(source: Path, kind: str) -> bool:
    """Run the tests on a database of that kind, and print what came of it; without such a database they pass."""
    try:
        with TemporaryDirectory() as folder, new_database(kind, Path(folder, "database")) as url:
            done = _run(source, Path(folder), url)
    except pytest.skip.Exception as skipped:
        print(f"SKIPPED Django's own tests of task backends: {skipped}")
        return True
    lines = done.stderr.splitlines()
    summary = [line for line in lines if line.startswith(("Ran ", "OK", "FAILED"))]
    print(f"Django {django.__version__}'s own tests of task backends on {kind}: {', '.join(summary)}")
    if done.returncode != 0:
        print(done.stderr)
    return done.returncode == 0


def _run(source: Path, folder: Path, database_url: str) -> subprocess.CompletedProcess[str]:
    adapt(source, folder)
    project = Project(database_url, folder, settings="tests.contrib.django.task_settings")
    project.environment["PYTHONPATH"] += f":{folder}"
    return project.run("test", "tasks", "--verbosity", "2")


if __name__ == "__main__":
    main(*sys.argv[1:])
