"""mypy, strict, on a user's file: wrong calls of steps are errors, and right ones are not."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from tests.setup.source import ROOT

USER_FILE = Path(__file__).with_name("typed_calls.py")
CONFIGURATION = "[mypy]\nstrict = true\n[mypy-celery.*]\nignore_missing_imports = true\n"


@pytest.mark.long
def test_each_wrong_call_is_an_error_and_nothing_else_is(tmp_path: Path) -> None:
    found = defaultdict(set)
    for line, code in re.findall(r":(\d+): error: .*\[([\w-]+)\]$", mypy(tmp_path), re.MULTILINE):
        found[int(line)].add(code)
    lines = enumerate(USER_FILE.read_text().splitlines(), start=1)
    wrong = {number: set(codes.split(", ")) for number, line in lines if (codes := line.partition("# wrong: ")[2])}
    assert len(wrong) > 20
    assert found == wrong


def mypy(folder: Path) -> str:
    """The output of mypy for a copy of the user's file, outside of the project and its configuration."""
    (folder / "mypy.ini").write_text(CONFIGURATION)
    (folder / "user.py").write_text(USER_FILE.read_text())
    command = [sys.executable, "-m", "mypy", "--no-error-summary", "--hide-error-context", "user.py"]
    ended = subprocess.run(
        command, cwd=folder, env={"MYPYPATH": str(ROOT)}, capture_output=True, text=True, timeout=170
    )
    assert ended.stderr == ""
    return ended.stdout
