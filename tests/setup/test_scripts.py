"""scripts/ and .ci/: they are there, they can be run, and their shells can read them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.setup.source import ROOT

SCRIPTS = [*(path for path in sorted((ROOT / "scripts").iterdir()) if path.is_file()), ROOT / ".ci" / "run"]


def test_the_scripts_that_the_documentation_names_exist() -> None:
    assert {"setup", "test", "test-all", "demo", "bench", "lock"} <= {path.name for path in SCRIPTS}


@pytest.mark.parametrize("path", SCRIPTS, ids=[path.name for path in SCRIPTS])
def test_a_script_can_be_run_and_read(path: Path) -> None:
    first, *rest = path.read_text().splitlines()
    assert os.access(path, os.X_OK)
    assert first in ("#!/bin/sh", "#!/usr/bin/env bash")
    assert rest[0].startswith("# "), "the second line says what it does"
    shell = first.split("/")[-1].split()[-1]
    checked = subprocess.run([shell, "-n", str(path)], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
