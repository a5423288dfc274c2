"""The page about testing is a project whose tests pass."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "testing.md"


def test_the_project_of_the_page_passes_its_tests(tmp_path: Path) -> None:
    for name, code in files().items():
        Path(tmp_path, name).write_text(code, encoding="utf-8")
    done = run(tmp_path)
    assert done.returncode == 0, done.stdout
    passed = int(re.findall(r"(\d+) passed", done.stdout)[-1])
    assert passed > sum(code.count("def test_") for code in files().values()), "one of them has two parameters"


def files() -> dict[str, str]:
    """The page's Python snippets, by the name that each begins with."""
    found: defaultdict[str, str] = defaultdict(str)
    for name, code in re.findall(r"```python\n# (\w+\.py)\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL):
        found[name] += code
    return dict(found)


def run(folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("AGENTQ_", "CELERY_"))
    }
    command = [sys.executable, "-m", "pytest", "-q", "--rootdir", str(folder)]
    return subprocess.run(command, cwd=folder, env=environment, check=False, capture_output=True, text=True)
