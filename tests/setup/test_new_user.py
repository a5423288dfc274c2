"""A stranger's first minutes: the built wheel, an empty folder, and a workflow of their own in under 20 lines."""

from __future__ import annotations

import os
import signal
import site
import subprocess
import sys
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.setup.source import ROOT
from tests.support import eventually

pytest.importorskip("hatchling", reason="hatchling, which builds the wheel, is not installed")

OWN_WORKFLOW = """\
from app import agentq
from steps import combine

from agentq import each, step


@step
def words(text: str) -> list[str]:
    return text.split()


@step
def backwards(word: str) -> str:
    return word[::-1]


if __name__ == "__main__":
    print(agentq.start(words.s("never odd") | each(backwards.s()) | combine.s()).result(60))
"""


class Stranger:
    """A new user with an empty folder, and an environment in which agentq was installed from its wheel."""

    def __init__(self, folder: Path, environment: Path) -> None:
        self.folder = folder
        self._bin = environment / "bin"

    def run(self, program: str, *arguments: str) -> str:
        """Run a program of the environment and return what it printed."""
        command = [self._bin / program, *arguments]
        ended = subprocess.run(command, cwd=self.folder, env=_clean(), capture_output=True, text=True, timeout=120)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    @contextmanager
    def worker(self) -> Iterator[None]:
        """``agentq up``, until the end of the ``with``."""
        log = self.folder / "worker.log"
        with log.open("wb") as output:
            command = [self._bin / "agentq", "up", "-A", "app", "--concurrency", "2"]
            up = subprocess.Popen(command, cwd=self.folder, env=_clean(), stdout=output, stderr=output)
        try:
            eventually(lambda: b" ready." in log.read_bytes() or up.poll() is not None, 60, what="a ready worker")
            assert up.poll() is None, log.read_text()
            yield
        finally:
            up.send_signal(signal.SIGTERM)
            up.wait(60)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def stranger(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Stranger:
    """A new environment with the wheel in it; what it depends on is borrowed from this one, without a network."""
    environment = tmp_path_factory.mktemp("environment")
    venv.create(environment, with_pip=True, symlinks=True)
    python = environment / "bin" / "python"
    quiet = ["-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--disable-pip-version-check"]
    subprocess.run([python, *quiet, str(wheel)], check=True, capture_output=True)
    (own,) = environment.glob("lib/python*/site-packages")
    own.joinpath("borrowed.pth").write_text("\n".join(site.getsitepackages()) + "\n")
    return Stranger(tmp_path_factory.mktemp("stranger"), environment)


@pytest.mark.long
def test_from_the_wheel_to_a_workflow_of_ones_own(stranger: Stranger) -> None:
    installed = stranger.run("python", "-c", "import agentq; print(agentq.__file__)")
    assert str(ROOT) not in installed, "it is the wheel that runs, not this checkout"
    stranger.run("agentq", "init")
    assert len(OWN_WORKFLOW.splitlines()) < 20
    (stranger.folder / "own.py").write_text(OWN_WORKFLOW)
    app = stranger.folder / "app.py"
    app.write_text(app.read_text().replace('include=["steps"]', 'include=["steps", "own"]'))
    with stranger.worker():
        assert stranger.run("python", "start.py").endswith("\nCHAPTER 1, CHAPTER 2, CHAPTER 3\n")
        assert stranger.run("python", "own.py") == "reven, ddo\n"
    assert stranger.run("agentq", "workflows").count("succeeded") == 2


def test_the_wheel_has_the_settings_of_flower_that_the_pages_name(stranger: Stranger) -> None:
    (stranger.folder / "flowerconfig.py").write_text("from agentq.contrib.flowerconfig import *\n")
    printed = stranger.run(
        "python", "-c", "import flowerconfig; print(flowerconfig.read_only, flowerconfig.format_task)"
    )
    assert printed.startswith("True <function format_task")


def _clean() -> dict[str, str]:
    return {
        name: value for name, value in os.environ.items() if not name.startswith(("AGENTQ_", "CELERY_", "PYTHON"))
    }
