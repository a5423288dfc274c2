"""The reader of the pages, which must not outlive its test."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from tests.docs.snippets import ROOT
from tests.support.processes import is_running
from tests.support.waiting import eventually

KILLED = """
import os
import signal
from pathlib import Path
from tests.docs.reader import Reader
from tests.docs.snippets import Snippet

with Reader(Path.cwd(), dict(os.environ)) as reader:
    reader.do(Snippet(1, "console", "sleep 1000 & echo $! > background"))
    reader.do(Snippet(2, "console", "echo $$ > shell"))
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_test_that_is_killed_leaves_nothing_of_a_page_running(tmp_path: Path) -> None:
    program = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r}){KILLED}"]
    run = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert run.returncode == -signal.SIGKILL, run.stderr
    pids = [int((tmp_path / name).read_text()) for name in ("background", "shell")]
    eventually(lambda: not any(map(is_running, pids)), 20, what="the end of all that the page has started")
