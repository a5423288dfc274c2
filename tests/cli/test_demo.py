"""``agentq demo`` without what it needs says what to install; the demo itself has tests of its own."""

import os
from pathlib import Path

from tests.cli.program import ROOT, Program


def test_a_missing_extra_is_named_with_its_remedy(program: Program) -> None:
    Path(program.folder, "sumy.py").write_text("raise ModuleNotFoundError('not here', name='sumy')\n")
    program.env["PYTHONPATH"] = os.pathsep.join([str(program.folder), str(ROOT)])
    said = program.error("demo")
    assert said == "the demo needs a package that is not installed (sumy); run: pip install 'celery-agentq[demo]'"
