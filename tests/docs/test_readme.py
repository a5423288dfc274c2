"""The quickstart of README.md works when it is pasted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.snippets import PYTHON, ROOT, read
from tests.support.waiting import eventually

BIN = Path(sys.executable).parent


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder with the README's tasks.py, and the README's worker in it."""
    quickstart = read(ROOT / "README.md").of(PYTHON)[0]
    Path(tmp_path, "tasks.py").write_text(quickstart.code, encoding="utf-8")
    log = Path(tmp_path, "worker.log")
    with log.open("wb") as output:
        command = [BIN / "agentq", "up", "-A", "tasks"]
        worker = subprocess.Popen(command, cwd=tmp_path, env=_environment(), stdout=output, stderr=output)
    try:
        eventually(lambda: b" ready." in log.read_bytes(), 60, what="a ready worker")
        yield tmp_path
    finally:
        worker.send_signal(signal.SIGTERM)
        worker.wait(30)


def test_the_quickstart_runs_as_it_is_written(folder: Path) -> None:
    first, second = (_run(folder, BIN / "python", "tasks.py") for _ in range(2))
    assert first.endswith(" CHAPTER 1, CHAPTER 2, CHAPTER 3\n")
    assert second == first, "the same key names the same workflow"
    assert first.split()[0] in _run(folder, BIN / "agentq", "workflows", "list")


def _run(folder: Path, *command: str | Path) -> str:
    return subprocess.run(
        command, cwd=folder, env=_environment(), check=True, capture_output=True, text=True
    ).stdout


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("AGENTQ_", "CELERY_"))}
