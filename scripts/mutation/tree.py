"""A copy of the project, and pytest on it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import cache_from_source
from pathlib import Path
from tempfile import TemporaryFile

from scripts.mutation.mutant import ROOT, Mutant

PER_TEST = 120
"""Seconds that a test may take with a mutant."""
_COPIED = ("agentq", "tests", "scripts", "pyproject.toml", "README.md")
_FAILED = re.compile(r"^(?:FAILED|ERROR) (?P<test>.+?)(?: - .*)?$", re.MULTILINE)
_TIMED_OUT = re.compile(r"Failed: Timeout \(>|^\++ Timeout \++$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Run:
    """The end of a run of pytest."""

    code: int | None
    """Its exit code, None where it had to be killed."""
    seconds: float
    output: str

    @property
    def failed(self) -> bool:
        """True if a test failed. An import that fails, or no test at all, is not that."""
        return self.code == 1 and self.first_failure is not None

    @property
    def first_failure(self) -> str | None:
        """The name of the test that failed."""
        found = _FAILED.search(self.output)
        return found and found["test"]

    @property
    def timed_out(self) -> bool:
        """True if it failed by its time only."""
        return _TIMED_OUT.search(self.output) is not None


class Tree:
    """One copy, for one mutant at a time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in _COPIED:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, folder / name)
        self._require_own_package()

    def run(self, mutant: Mutant) -> Run:
        """Run the mutant's tests on it."""
        path = self.folder / mutant.file
        before = path.read_text()
        _write(path, mutant.of(before))
        try:
            picked = ("-k", mutant.pick) if mutant.pick else ()
            return self.test(*mutant.tests, *picked, most=900)
        finally:
            _write(path, before)

    def test(self, *arguments: str, most: float) -> Run:
        """Run pytest, for *most* seconds at most, up to the first failure."""
        began = time.monotonic()
        options = ("-x", "-q", "-p", "no:cacheprovider", "--tb=short", f"--timeout={PER_TEST}")
        code, output = self._python(("-m", "pytest", *options, *arguments), most)
        return Run(code, time.monotonic() - began, output)

    def _require_own_package(self) -> None:
        """Fail if the copy's tests would import another agentq, such as the installed one."""
        code, output = self._python(("-c", "import agentq, tests; print(agentq.__file__, tests.__file__)"), 60)
        wanted = [str(self.folder / package / "__init__.py") for package in ("agentq", "tests")]
        if code != 0 or output.split() != wanted:
            raise RuntimeError(f"the copy in {self.folder} is not what is imported: {output}")

    def _python(self, arguments: Sequence[str], most: float) -> tuple[int | None, str]:
        environment = os.environ | {
            "PYTHONPATH": str(self.folder),
            "CI": "1",  # a service that is missing fails, instead of a skip that looks like a test that passed
        }
        with TemporaryFile("w+") as output:  # not a pipe: a child that hangs would hold its end for ever
            process = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=self.folder,
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            code = _ended(process, most)
            output.seek(0)
            return code, output.read()


def _ended(process: subprocess.Popen[bytes], most: float) -> int | None:
    """Wait for the end, for *most* seconds, and kill what is left of it."""
    try:
        return process.wait(most)
    except subprocess.TimeoutExpired:
        return None
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _write(path: Path, source: str) -> None:
    """Write a module, and forget what was compiled of it: Python compares only its size and second."""
    path.write_text(source)
    Path(cache_from_source(str(path))).unlink(missing_ok=True)
