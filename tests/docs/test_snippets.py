"""Every snippet of the README and of the pages is run or checked, or says why it is not."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.commands import problems
from tests.docs.snippets import CONSOLE, PYTHON, ROOT, Page, Snippet, pages, read

PAGES = list(pages())
SNIPPETS = [
    pytest.param(page, snippet, id=f"{page.name}:{snippet.line}") for page in PAGES for snippet in page.snippets
]


def named(chosen: list[Page]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("page", [pytest.param(page, id=page.name) for page in chosen])


@pytest.mark.parametrize(("page", "snippet"), SNIPPETS)
def test_a_snippet_is_valid(page: Page, snippet: Snippet) -> None:
    if snippet.language in PYTHON and not page.tests:  # they may be parts of what its own tests run
        compile(snippet.code, page.name, "exec")
    elif snippet.language in CONSOLE:
        if snippet.not_run:
            pytest.skip(snippet.not_run)
        is_run = bool(page.tests) or page.in_order
        assert problems(snippet, known_programs=not is_run) == []


@named([page for page in PAGES if page.of(PYTHON) and not page.tests and not page.in_order])
def test_the_python_of_a_page_runs(page: Page, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.docs.page_program", str(page.path)]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr


@named([page for page in PAGES if page.in_order])
def test_a_page_that_is_run_in_order_prints_what_it_says(page: Page, tmp_path: Path) -> None:
    for snippet in page.of(PYTHON):
        assert snippet.file, f"{page.name}:{snippet.line}: say which file it is, in its first line"
        (tmp_path / snippet.file).write_text(snippet.code, encoding="utf-8")
    script = "\n".join(snippet.code for snippet in page.of(CONSOLE) if not snippet.not_run)
    printed = run(script, tmp_path)
    for snippet in page.of(frozenset({"text"})):
        for line in snippet.code.splitlines():
            assert re.search(re.escape(line).replace("…", ".+"), printed), f"{line!r} is not in:\n{printed}"


@named([page for page in PAGES if page.tests])
def test_the_tests_that_a_page_names_are_about_it(page: Page) -> None:
    assert page.path.name in (ROOT / page.tests).read_text(encoding="utf-8")


def test_a_mark_that_is_none_is_told(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- snippets: skip -->\n", encoding="utf-8")
    with pytest.raises(ValueError, match="cannot be 'skip'"):
        read(page)


@pytest.mark.parametrize(
    ("command", "wrong"),
    [
        ("agentq jobs list --statsu failed", "No such option"),
        ("agentq jobz", "No such command"),
        ("agentq dead-letters count [--by step|colour]", "colour"),
        ("celery -A proj agentq jobs show", "Missing argument"),
        ("scripts/none", "no such script"),
        ("pip install 'celery-agentq[none]'", "no such extra"),
        ("frobnicate --all", "mark it"),
    ],
)
def test_what_is_wrong_with_a_command_is_told(command: str, wrong: str) -> None:
    [told] = problems(Snippet(1, "console", f"{command}   # as ever\n"), known_programs=True)
    assert wrong in told


def run(script: str, folder: Path) -> str:
    shell = subprocess.Popen(
        ["bash", "-e"],
        cwd=folder,
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        printed, _ = shell.communicate(script, timeout=150)
    finally:
        if shell.poll() is None:
            os.killpg(shell.pid, signal.SIGKILL)
    assert shell.returncode == 0, printed
    return printed


def environment() -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith(("AGENTQ_", "CELERY_"))}
    path = os.pathsep.join([str(Path(sys.executable).parent), own["PATH"]])
    return own | {"PATH": path, "PYTHONPATH": str(ROOT)}
