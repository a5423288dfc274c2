"""The page about testing is a project whose tests pass."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.place import environment
from tests.docs.snippets import ROOT, read

FILES = read(ROOT / "docs" / "testing.md").files


@pytest.mark.long
def test_the_project_of_the_page_passes_its_tests(tmp_path: Path) -> None:
    for name, code in FILES.items():
        Path(tmp_path, name).write_text(code, encoding="utf-8")
    done = run(tmp_path)
    assert done.returncode == 0, done.stdout
    passed = int(re.findall(r"(\d+) passed", done.stdout)[-1])
    assert passed > sum(code.count("def test_") for code in FILES.values()), "one of them has two parameters"


def run(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-q", "--rootdir", str(folder)]
    return subprocess.run(command, cwd=folder, env=environment(), check=False, capture_output=True, text=True)
