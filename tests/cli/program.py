"""The ``agentq`` program: installed, in a process that has loaded it, or, for the many looks, in this process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from agentq.cli.main import agentq
from tests.support import forked
from tests.support.worker import LOADED

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
OURS = ("AGENTQ_", "CELERY_", "NO_COLOR")


@dataclass
class Program:
    """Runs ``agentq`` in a folder, with these environment variables beside those of the test."""

    folder: Path
    env: dict[str, str] = field(default_factory=dict)

    def environment(self) -> dict[str, str]:
        """The program's environment: nothing of agentq's but *env*."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
        return {**clean, "PYTHONPATH": str(ROOT), **self.env}

    def run(self, *arguments: str, program: str = "agentq") -> subprocess.CompletedProcess[str]:
        """Run it to its end."""
        return subprocess.run(
            [str(BIN / program), *arguments],
            cwd=self.folder,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=60,
        )

    def text(self, *arguments: str, program: str = "agentq") -> str:
        """Run it, expect success and nothing on stderr, and return what it printed."""
        ended = self.run(*arguments, program=program)
        assert (ended.returncode, ended.stderr) == (0, "")
        return ended.stdout

    def json(self, *arguments: str) -> Any:
        """Run it with ``--json`` and return the data."""
        return json.loads(self.text(*arguments, "--json"))

    def error(self, *arguments: str, program: str = "agentq") -> str:
        """Run it, expect exit code 1 and one line on stderr, and return that line's message."""
        ended = self.run(*arguments, program=program)
        assert (ended.returncode, ended.stdout) == (1, "")
        assert ended.stderr.count("\n") == 1
        assert ended.stderr.startswith("error: ")
        return ended.stderr.removeprefix("error: ").rstrip()


class Loaded(Program):
    """Runs it in a fork of a process that has loaded Celery and agentq, which takes longer than all the rest."""

    def run(self, *arguments: str, program: str = "agentq") -> subprocess.CompletedProcess[str]:
        command = ["-m", program, *arguments]
        return forked.run(command, loaded=LOADED, environment=self.environment(), folder=self.folder)


class Inside(Program):
    """Runs the commands without a process of their own."""

    def run(self, *arguments: str, program: str = "agentq") -> subprocess.CompletedProcess[str]:
        assert program == "agentq"
        hidden = {name: None for name in os.environ if name.startswith(OURS)}
        result = CliRunner(env={**hidden, **self.env}).invoke(agentq, arguments, prog_name="agentq")
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return subprocess.CompletedProcess(arguments, result.exit_code, result.stdout, result.stderr)
